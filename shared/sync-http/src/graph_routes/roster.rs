//! Who sits at a graph, and the news that may wait a moment before everyone is told.
//!
//! Who is online and who edits what is told at once when nothing was told lately, else together with what comes within
//! [`WINDOW_MS`]: five hundred sockets that all come, go and edit would otherwise cost a quarter of a million messages a
//! round. The window is the platform's timer and not the clock's: under load a timer lets others go first. Nothing
//! overtakes anything: whoever is told something else first gets the news that are due.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use protocol::Holder;

/// How long news are gathered, in milliseconds.
pub(crate) const WINDOW_MS: u32 = 30;

/// Bytes of news for each millisecond of the window that follows: whoever comes to hundreds is one more in a list that all of them are told,
/// and a graph is not to be busy with that alone.
const BYTES_A_MS: usize = 8 << 10;

/// The window that follows so many bytes of news, of which one turn sends a bounded number (`NEWS_TURN_BYTES`): half a second at most, and a
/// twentieth of that and less where a graph has tens of people.
pub(crate) fn window(bytes: usize) -> u32 {
    u32::try_from(bytes / BYTES_A_MS).map_or(u32::MAX, |ms| ms.max(WINDOW_MS))
}

/// Messages of news sent in one turn of the object; the rest waits for the next window, so that others have their turn.
pub(crate) const SENDS_A_TURN: usize = 500;

/// Presence messages that one socket may send at once, and one more after each interval. A client sends one when the
/// cursor goes to another block. Of what comes faster the latest is kept, and told when its time has come.
const PRESENCE_BURST: i64 = 10;
const PRESENCE_INTERVAL_MS: i64 = 200;

/// A socket as the object's memory knows it.
#[derive(Debug)]
struct Seat {
    holder: Rc<Holder>,
    /// News before this number were told, or are older than the socket.
    seen: u64,
    /// It is going, although the platform may still list it.
    gone: bool,
    /// When its allowance of presence messages will be whole again.
    presence_whole_ms: i64,
    /// The presence that came too fast.
    held: Option<Editing>,
    /// Whether a long answer to it is being made.
    pulling: bool,
    /// The latest change of the graph, to be told after that answer.
    change: Option<Rc<str>>,
}

/// The block that a presence message names, if it names one.
#[derive(Clone, Debug)]
pub(crate) struct Editing(pub(crate) Option<String>);

/// What news are about: of each only the latest is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum About {
    /// Who is online. Its text is made when it is told.
    Online,
    /// What a user edits, who said so with that socket and does not hear it there.
    Presence { user_id: String, sender: u64 },
}

impl About {
    fn is_same_matter(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Online, Self::Online) => true,
            (Self::Presence { user_id: one, .. }, Self::Presence { user_id: other, .. }) => one == other,
            _ => false,
        }
    }
}

#[derive(Debug)]
struct News {
    number: u64,
    about: About,
    /// None: who is online.
    text: Option<Rc<str>>,
}

/// What one socket is to be told.
#[derive(Debug)]
pub(crate) enum Due {
    /// Who is online.
    Online,
    /// A text.
    Text(Rc<str>),
}

/// All of it. Seats are at most as many as sockets; news at most one for each user among them, and one more.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    seats: HashMap<u64, Seat>,
    news: Vec<News>,
    next: u64,
    /// Whether the platform was asked to wake the object: until then news are gathered.
    waking: bool,
    /// Who is online, once it was asked for.
    online: Option<Rc<str>>,
}

impl Roster {
    /// Gives a new socket its seat.
    pub(crate) fn sit(&mut self, socket: u64, holder: Rc<Holder>) {
        let seat = Seat {
            holder,
            seen: self.next,
            gone: false,
            presence_whole_ms: i64::MIN,
            held: None,
            pulling: false,
            change: None,
        };
        self.seats.insert(socket, seat);
    }

    /// Whom a seat belongs to.
    pub(crate) fn holder(&self, socket: u64) -> Option<Rc<Holder>> {
        self.seats.get(&socket).map(|seat| Rc::clone(&seat.holder))
    }

    /// Another state of the same holder.
    pub(crate) fn change(&mut self, socket: u64, holder: Rc<Holder>) {
        if let Some(seat) = self.seats.get_mut(&socket) {
            seat.holder = holder;
        }
    }

    /// The socket is going.
    pub(crate) fn leave(&mut self, socket: u64) {
        if let Some(seat) = self.seats.get_mut(&socket) {
            seat.gone = true;
        }
    }

    /// Whether the socket is going.
    pub(crate) fn is_gone(&self, socket: u64) -> bool {
        self.seats.get(&socket).is_some_and(|seat| seat.gone)
    }

    /// From here on changes of the graph are held back from this socket.
    pub(crate) fn begin_pull(&mut self, socket: u64) {
        if let Some(seat) = self.seats.get_mut(&socket) {
            seat.pulling = true;
        }
    }

    /// They are not any more. The latest of them, if there was one.
    pub(crate) fn end_pull(&mut self, socket: u64) -> Option<Rc<str>> {
        let seat = self.seats.get_mut(&socket)?;
        seat.pulling = false;
        seat.change.take()
    }

    /// Holds a change of the graph back, in place of one before. False: it is to be told.
    pub(crate) fn hold_change(&mut self, socket: u64, change: &Rc<str>) -> bool {
        let Some(seat) = self.seats.get_mut(&socket).filter(|seat| seat.pulling) else { return false };
        seat.change = Some(Rc::clone(change));
        true
    }

    /// Forgets all seats but those of these sockets.
    pub(crate) fn retain(&mut self, sockets: &HashSet<u64>) {
        self.seats.retain(|socket, _| sockets.contains(socket));
    }

    /// Takes news in. True: they are to be told now; else once the window is over.
    pub(crate) fn post(&mut self, about: About, text: Option<Rc<str>>) -> bool {
        if about == About::Online {
            self.online = None;
        }
        self.news.retain(|news| !news.about.is_same_matter(&about));
        self.news.push(News { number: self.next, about, text });
        self.next += 1;
        !self.waking
    }

    /// What a socket has not been told yet, which from here on counts as told.
    pub(crate) fn take_due(&mut self, socket: u64) -> Vec<Due> {
        let Some(seat) = self.seats.get_mut(&socket) else { return Vec::new() };
        let seen = std::mem::replace(&mut seat.seen, self.next);
        if seen == self.next {
            return Vec::new();
        }
        let to_tell = self.news.iter().filter(|news| {
            news.number >= seen && !matches!(news.about, About::Presence { sender, .. } if sender == socket)
        });
        to_tell.map(|news| news.text.clone().map_or(Due::Online, Due::Text)).collect()
    }

    /// A number that orders sockets by how long they have not been told anything.
    pub(crate) fn seen(&self, socket: u64) -> u64 {
        self.seats.get(&socket).map_or(self.next, |seat| seat.seen)
    }

    /// Everyone was told.
    pub(crate) fn told_all(&mut self) {
        self.news.clear();
    }

    /// Whether there are news that not everyone was told.
    pub(crate) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// Whether the platform has to be asked for a wake-up; it counts as asked from here on.
    pub(crate) fn wants_waking(&mut self) -> bool {
        !std::mem::replace(&mut self.waking, true)
    }

    /// The wake-up came.
    pub(crate) fn woke(&mut self) {
        self.waking = false;
    }

    /// Who is online, if it was made since it changed.
    pub(crate) fn online(&self) -> Option<Rc<str>> {
        self.online.clone()
    }

    /// Keeps the text of who is online.
    pub(crate) fn set_online(&mut self, text: &Rc<str>) {
        self.online = Some(Rc::clone(text));
    }

    /// Whether a presence message of this socket may be handled now; else it is held, in place of one held before.
    pub(crate) fn admit_presence(&mut self, socket: u64, editing: Option<&str>, now_ms: i64) -> bool {
        let Some(seat) = self.seats.get_mut(&socket) else { return false };
        // The allowance is the time left until it is whole: each message takes one interval of it.
        let whole = seat.presence_whole_ms.clamp(now_ms, now_ms + PRESENCE_BURST * PRESENCE_INTERVAL_MS);
        if whole - now_ms > (PRESENCE_BURST - 1) * PRESENCE_INTERVAL_MS {
            seat.held = Some(Editing(editing.map(str::to_owned)));
            return false;
        }
        seat.presence_whole_ms = whole + PRESENCE_INTERVAL_MS;
        seat.held = None;
        true
    }

    /// Whether any presence is held.
    pub(crate) fn holds_presence(&self) -> bool {
        self.seats.values().any(|seat| seat.held.is_some() && !seat.gone)
    }

    /// The presence held for a socket.
    pub(crate) fn held(&self, socket: u64) -> Option<Editing> {
        self.seats.get(&socket).and_then(|seat| seat.held.clone())
    }
}

#[cfg(test)]
mod tests {
    use protocol::limits::NEWS_TURN_BYTES;

    use super::*;

    #[test]
    fn much_news_is_followed_by_a_longer_window() {
        assert_eq!([0, 100_000, 240 << 10].map(window), [WINDOW_MS; 3]);
        assert_eq!(window(1 << 20), 128);
        assert_eq!(window(NEWS_TURN_BYTES), 512);
    }
}
