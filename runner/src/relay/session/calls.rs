//! What calls a session away from the network (docs/spec/session-mailbox.md 4.7): interrupts, answers and the end do not wait until a file is
//! sent. What is broken off is done again afterwards, and the worker knows repeats.

use std::sync::mpsc::Sender;

use tokio::sync::watch;

use super::{Item, Order};

/// Kinds of items that nothing in the network holds up.
const URGENT: [&str; 4] = ["interrupt", "withdraw", "permission.answer", "session.cancel"];
/// One of them that stays behind the item that it is about.
const IN_ORDER: &str = "withdraw";

/// The way to a session.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    orders: Sender<Order>,
    calls: watch::Sender<u64>,
}

impl Caller {
    /// Tells a session something. One that has ended does not hear it.
    pub(crate) fn tell(&self, order: Order) {
        let is_urgent = order.is_urgent();
        // It is there before it calls: whoever is called finds it.
        if self.orders.send(order).is_ok() && is_urgent {
            self.calls.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// The way for bells, which call nobody.
    pub(crate) fn orders(&self) -> Sender<Order> {
        self.orders.clone()
    }
}

/// What a session hears of it.
#[derive(Clone, Debug)]
pub(crate) struct Calls(watch::Receiver<u64>);

/// A way to a session whose orders go there.
pub(crate) fn calls(orders: Sender<Order>) -> (Caller, Calls) {
    let (calls, heard) = watch::channel(0);
    (Caller { orders, calls }, Calls(heard))
}

impl Calls {
    /// Whether somebody has called since that was last noted.
    pub(super) fn is_called(&self) -> bool {
        // Nobody is left who could call.
        self.0.has_changed().unwrap_or(false)
    }

    /// Notes that orders are taken in now.
    pub(super) fn note(&mut self) {
        self.0.mark_unchanged();
    }

    /// Waits for an answer; none when somebody calls before it is there.
    pub(super) fn wait<T>(&self, runtime: &tokio::runtime::Handle, answer: impl Future<Output = T>) -> Option<T> {
        let mut calls = self.0.clone();
        runtime.block_on(async {
            let called = async {
                if calls.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                biased;
                () = called => None,
                answer = answer => Some(answer),
            }
        })
    }
}

impl Order {
    /// Whether it breaks off what waits for the network.
    fn is_urgent(&self) -> bool {
        match self {
            Self::Item(item) => URGENT.contains(&item.kind.as_str()),
            Self::Lost | Self::End { .. } => true,
            Self::Wake => false,
        }
    }

    /// Whether it is done before what came earlier.
    pub(super) fn goes_first(&self) -> bool {
        self.is_urgent() && !matches!(self, Self::Item(Item { kind, .. }) if kind == IN_ORDER)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    fn item(kind: &str) -> Order {
        let item = serde_json::json!({"item-id": "i", "session-id": "s", "work-seq": 1, "lease": 1, "kind": kind});
        Order::Item(serde_json::from_value(item).unwrap())
    }

    #[test]
    fn what_does_not_wait_breaks_off_what_waits_for_the_network() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (orders, heard) = channel();
        let (caller, mut calls) = calls(orders);
        for kind in ["prompt", "session.open", "session.close", "push"] {
            caller.tell(item(kind));
        }
        caller.tell(Order::Wake);
        assert!(!calls.is_called());
        assert_eq!(calls.wait(runtime.handle(), async { 1 }), Some(1));
        let orders = URGENT.map(item).into_iter().chain([Order::Lost, Order::End { kill: false }]);
        for order in orders {
            let caller = caller.clone();
            let called = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(20));
                caller.tell(order);
            });
            assert_eq!(calls.wait(runtime.handle(), std::future::pending::<()>()), None);
            called.join().unwrap();
            assert!(calls.is_called());
            assert_eq!(calls.wait(runtime.handle(), async { 1 }), None, "until orders are taken in");
            calls.note();
            assert!(!calls.is_called());
        }
        assert_eq!(heard.try_iter().count(), 11);
    }

    #[test]
    fn nobody_is_called_by_one_who_is_gone() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (caller, calls) = calls(channel().0);
        drop(caller);
        assert!(!calls.is_called());
        assert_eq!(calls.wait(runtime.handle(), async { 1 }), Some(1));
    }
}
