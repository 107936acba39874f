//! The routes of docs/spec/session-mailbox.md 7, as far as a runner uses them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use http::StatusCode;
use serde_json::{Value, json};
use sessions::mailbox::desk::{self, Ack, AckResult, Batch, Claim, Incoming, Notice, Renewed};
use sessions::mailbox::runner::{self, Attachment, Detach, Poll, Registration};
use sessions::mailbox::{Token, answer, limits};
use sessions::runtime::ToolServer;

use super::plane::{Fault, Plane, RUNNER_TIMES, State, Transcript, key, now};

type Answer = (StatusCode, Value);

struct Asked {
    method: String,
    path: String,
    token: String,
    attach: Option<String>,
    status: Option<String>,
    body: Vec<u8>,
}

pub(crate) fn serve(plane: Plane, listener: TcpListener) {
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let plane = plane.clone();
            std::thread::spawn(move || {
                let Some((asked, mut stream)) = read(stream) else { return };
                let fault = {
                    let mut state = plane.lock();
                    let at = state.faults.iter().position(|(path, _)| asked.path.contains(path.as_str()));
                    at.and_then(|at| state.faults.remove(at)).map(|(_, fault)| fault)
                };
                if fault.is_none()
                    && let Some(bytes) = conversation(&plane, &asked).or_else(|| credentials(&plane, &asked))
                {
                    let _gone = stream.write_all(&bytes);
                    return;
                }
                if let Some(Fault::Hangs(time)) = fault {
                    std::thread::sleep(time);
                }
                let (status, body) = match fault {
                    Some(Fault::Error | Fault::Hangs(_)) => {
                        (StatusCode::INTERNAL_SERVER_ERROR, json!({"error": "server error"}))
                    }
                    _ => reply(&plane, &asked),
                };
                plane.shared.1.notify_all();
                if fault == Some(Fault::Dropped) {
                    return;
                }
                let body = body.to_string();
                let _gone = write!(
                    stream,
                    "HTTP/1.1 {} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    status.as_u16(),
                    body.len()
                );
            });
        }
    });
}

fn read(stream: TcpStream) -> Option<(Asked, TcpStream)> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split(' ').map(str::to_owned);
    let mut asked = Asked {
        method: words.next()?,
        path: words.next()?,
        token: String::new(),
        attach: None,
        status: None,
        body: Vec::new(),
    };
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => value.trim_start_matches("Bearer ").clone_into(&mut asked.token),
            "x-runner-attach" => asked.attach = Some(value.to_owned()),
            "x-terminal-status" => asked.status = Some(value.to_owned()),
            "content-length" => length = value.parse().ok()?,
            _ => {}
        }
    }
    asked.body = vec![0; length];
    reader.read_exact(&mut asked.body).ok()?;
    Some((asked, reader.into_inner()))
}

/// The answer to a request for a conversation, which is no JSON.
fn conversation(plane: &Plane, asked: &Asked) -> Option<Vec<u8>> {
    let id = asked.path.strip_prefix("/sessions/")?.strip_suffix("/transcript").filter(|_| asked.method == "GET")?;
    let state = plane.lock();
    let Some(kept) = state.conversation(id).filter(|_| asked.token == "run-token") else {
        return Some(b"HTTP/1.1 204 x\r\nconnection: close\r\n\r\n".to_vec());
    };
    let mut answer = format!(
        "HTTP/1.1 200 x\r\ncontent-type: application/x-tar\r\nx-snapshot-run-id: run-{}\r\nx-snapshot-epoch: 0\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        kept.run,
        kept.bytes.len()
    )
    .into_bytes();
    answer.extend_from_slice(&kept.bytes);
    Some(answer)
}

/// The answer to a question of git, which is no JSON: a password for one repository, to whoever has the token of a run.
fn credentials(plane: &Plane, asked: &Asked) -> Option<Vec<u8>> {
    asked.path.strip_prefix("/sessions/")?.strip_suffix("/git-credentials").filter(|_| asked.method == "POST")?;
    let question = String::from_utf8_lossy(&asked.body).into_owned();
    let is_for = asked.token == "run-token" && question.contains("path=acme/project.git\n");
    plane.lock().asked.push((asked.path.clone(), question.into()));
    plane.shared.1.notify_all();
    let (status, body) = if is_for { (200, super::credentials::GIVEN) } else { (404, "{}") };
    let length = body.len();
    Some(format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").into_bytes())
}

/// Keeps a conversation.
fn keep(plane: &Plane, asked: &Asked) -> Option<Answer> {
    let (session, run) =
        asked.path.strip_prefix("/sessions/")?.strip_suffix("/transcript")?.split_once("/runs/run-")?;
    if !matches!(asked.token.as_str(), "run-token" | "late-token") {
        return Some((StatusCode::UNAUTHORIZED, json!({"error": "unauthorized"})));
    }
    plane.lock().transcripts.push(Transcript {
        session: session.to_owned(),
        run: run.parse().ok()?,
        status: asked.status.clone()?,
        token: asked.token.clone(),
        bytes: asked.body.clone(),
    });
    Some((StatusCode::OK, json!({"ok": true})))
}

fn not_found() -> Answer {
    (StatusCode::NOT_FOUND, json!({"error": "not found"}))
}

fn decide() -> runner::Decide<'static> {
    runner::Decide::new(now(), &RUNNER_TIMES)
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_default()
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

fn reply(plane: &Plane, asked: &Asked) -> Answer {
    let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
    plane.lock().asked.push((asked.path.clone(), body.clone()));
    if let Some(answer) = keep(plane, asked) {
        return answer;
    }
    if asked.path == "/runners" {
        return register(plane, asked, &body);
    }
    if asked.path == "/runners/workstation" && asked.method == "DELETE" {
        let mut state = plane.lock();
        let State { runner, waiting, .. } = &mut *state;
        let Some(runner) = runner.as_mut() else { return not_found() };
        let mut decide = decide();
        runner::revoke(runner, &mut decide);
        ends(&decide, waiting);
        return (StatusCode::OK, json!({"ok": true}));
    }
    let Some(rest) = asked.path.strip_prefix("/runners/workstation/") else { return not_found() };
    {
        let mut state = plane.lock();
        let Some(runner) = state.runner.as_mut() else {
            return (StatusCode::UNAUTHORIZED, json!({"error": "unauthorized"}));
        };
        let Some(token) = Token::parse(&asked.token) else {
            return (StatusCode::UNAUTHORIZED, json!({"error": "unauthorized"}));
        };
        if let Err(error) = runner::authenticate(runner, &mut decide(), &token.hash()) {
            return error.answer();
        }
        if !matches!(rest, "attach" | "token")
            && let Err(error) = runner::check_attach(runner, asked.attach.as_deref())
        {
            return error.answer();
        }
        // Sessions hear whether it is there.
        let presence = runner.presence;
        let ids: Vec<String> = state.sessions.keys().cloned().collect();
        for id in ids {
            state.change(&id, |desk, decide| desk::on_presence(desk, decide, &key(), presence));
        }
    }
    let parts: Vec<&str> = rest.split('/').collect();
    match parts.as_slice() {
        ["attach"] => attach(plane, &body),
        ["token"] => {
            let token = Plane::token();
            let mut state = plane.lock();
            let at = runner::rotate(state.runner.as_mut().unwrap(), &decide(), token.hash());
            (StatusCode::OK, json!({"runner-token": token.text(), "runner-token-expires-at": at}))
        }
        ["poll"] => poll(plane, &body),
        ["acks"] => {
            acks(&mut plane.lock(), &body);
            (StatusCode::OK, json!({"ok": true}))
        }
        ["leases"] => leases(plane, &body),
        ["detach"] => {
            let mut state = plane.lock();
            let (mut decide, State { waiting, runner, .. }) = (decide(), &mut *state);
            runner::detach(runner.as_mut().unwrap(), &mut decide, Detach::Stop);
            ends(&decide, waiting);
            (StatusCode::OK, json!({"ok": true}))
        }
        ["sessions", id, "events"] => events(plane, id, &body),
        ["sessions", id, "notices"] => notice(plane, id, &body),
        ["sessions", _, "files", hash] => {
            plane.lock().files.insert((*hash).to_owned(), asked.body.clone());
            (StatusCode::CREATED, json!({"ok": true, "method": asked.method}))
        }
        _ => not_found(),
    }
}

fn register(plane: &Plane, asked: &Asked, body: &Value) -> Answer {
    let mut state = plane.lock();
    state.registrations.push(body.clone());
    if asked.token != "test-token" {
        return (StatusCode::UNAUTHORIZED, json!({"error": "unauthorized"}));
    }
    if state.is_off || body["transport"] != "mailbox" {
        return (StatusCode::CONFLICT, json!({"error": "mailbox transport is off"}));
    }
    let token = Plane::token();
    let registration = Registration {
        user_id: "ann".into(),
        runner_id: text(body, "runner-id"),
        instance_id: text(body, "instance-id"),
        replace: body["replace"] == true,
    };
    let mut decide = decide();
    let State { runner, waiting, .. } = &mut *state;
    match runner::register(runner, &mut decide, &key(), &registration, token.hash()) {
        Ok(registered) => {
            ends(&decide, waiting);
            (
                StatusCode::OK,
                json!({"runner": {}, "runner-token": token.text(), "runner-token-expires-at": registered.token_expires_at}),
            )
        }
        Err(error) => error.answer(),
    }
}

fn ends(decide: &runner::Decide<'_>, waiting: &mut runner::Waiting) {
    for effect in &decide.effects {
        if let runner::Effect::EndWaiting(how) = effect {
            waiting.end(*how);
        }
    }
}

fn attach(plane: &Plane, body: &Value) -> Answer {
    let mut state = plane.lock();
    state.attaches += 1;
    let id = format!("attach-{}", state.attaches);
    let mut decide = decide();
    let State { runner, waiting, .. } = &mut *state;
    let attachment = Attachment { id: id.clone(), process_id: text(body, "process-id") };
    let attached = match runner::attach(
        runner.as_mut().unwrap(),
        &mut decide,
        &text(body, "instance-id"),
        number(body, "protocol"),
        attachment,
    ) {
        Ok(attached) => attached,
        Err(error) => return error.answer(),
    };
    ends(&decide, waiting);
    let claims = body["sessions"].as_array().cloned().unwrap_or_default();
    let mut shown = Vec::new();
    let listed = claims.iter().map(|claim| text(claim, "session-id")).collect::<Vec<_>>();
    for (at, id) in listed.iter().enumerate() {
        let claim = &claims[at];
        let claim = Claim {
            mailbox_id: text(claim, "mailbox-id"),
            lease: number(claim, "lease"),
            work_seq: number(claim, "work-seq"),
            out_seq: number(claim, "out-seq"),
            generation: number(claim, "generation"),
        };
        let verdict = state.change(id, |desk, decide| desk::on_attach(desk, decide, &key(), Some(&claim)));
        shown.push(verdict.shown(id));
    }
    for id in attached.sessions.iter().filter(|id| !listed.contains(id)) {
        state.change(id, |desk, decide| desk::on_attach(desk, decide, &key(), None));
    }
    (
        StatusCode::OK,
        json!({"attach-id": id, "runner-epoch": attached.epoch, "server-time": now(), "limits": answer::limits(), "sessions": shown}),
    )
}

fn acks(state: &mut State, body: &Value) {
    for ack in body["acks"].as_array().into_iter().flatten() {
        let result = match ack["result"].as_str() {
            Some("stored") => AckResult::Stored,
            _ => AckResult::Refused(text(ack, "error")),
        };
        let it = Ack { item_id: text(ack, "item-id"), work_seq: number(ack, "work-seq"), result };
        state.change(&text(ack, "session-id"), |desk, decide| desk::on_ack(desk, decide, &key(), &it));
    }
}

fn poll(plane: &Plane, body: &Value) -> Answer {
    let began = (now(), Instant::now());
    let mut state = plane.lock();
    acks(&mut state, body);
    let mine = state.waiting.begin();
    plane.shared.1.notify_all();
    loop {
        let ids: Vec<String> = state.sessions.keys().cloned().collect();
        for id in &ids {
            // What was given out and not acknowledged comes again, and so on.
            let due = desk::next_alarm(&state.sessions[id].desk, &desk::Decide::new(now(), &super::plane::TIMES));
            if due.is_some_and(|at| at <= now()) {
                state.change(id, desk::on_alarm);
            }
        }
        let runner = state.runner.as_ref().unwrap();
        match state.waiting.next(runner, &RUNNER_TIMES, mine, began.0, body["wait-ms"].as_i64().unwrap(), now()) {
            Poll::Answer(woken) => return woken.answer(now()),
            Poll::Fetch => {
                let with_work: Vec<(String, u64)> =
                    runner.with_work().map(|(id, bound)| (id.to_owned(), bound.rings)).collect();
                let mut items = Vec::new();
                for (id, rings) in with_work {
                    let given = state.change(&id, |desk, decide| {
                        desk::fetch(desk, decide, &key(), limits::DEFAULT_ITEMS, limits::MAX_ANSWER_BYTES)
                    });
                    for one in given.unwrap_or_default() {
                        let stored = state.sessions[&id].body(&one.item.id);
                        let mut item = one.shown(&id, &stored, Some(("run-token", 900_000)), 0).unwrap();
                        if let Some(token) = &state.tools {
                            answer::add_tools(&mut item, &ToolServer::new("https://agents.test", &id, token.clone()));
                        }
                        items.push(item);
                    }
                    if state.sessions[&id].desk.items.iter().all(|item| item.given_at.is_some()) {
                        runner::on_fetched(state.runner.as_mut().unwrap(), &id, rings);
                    }
                }
                if !items.is_empty() {
                    return (StatusCode::OK, answer::items(&items, now()));
                }
            }
            Poll::Wait(_) => {}
        }
        assert!(began.1.elapsed() < Duration::from_mins(2));
        state = plane.shared.1.wait_timeout(state, Duration::from_millis(50)).unwrap().0;
    }
}

fn leases(plane: &Plane, body: &Value) -> Answer {
    let mut state = plane.lock();
    let mut shown = Vec::new();
    for one in body["sessions"].as_array().into_iter().flatten() {
        let id = text(one, "session-id");
        let renewed = state.change(&id, |desk, decide| desk::renew(desk, decide, &key(), number(one, "lease"), None));
        let mut renewed = Renewed::shown(&renewed, &id, None);
        if one["want-run-token"] == true {
            renewed["run-token"] = "late-token".into();
        }
        shown.push(renewed);
    }
    (StatusCode::OK, json!({"sessions": shown, "server-time": now()}))
}

fn events(plane: &Plane, id: &str, body: &Value) -> Answer {
    let mut state = plane.lock();
    let events = body["events"].as_array().cloned().unwrap_or_default();
    let has = |text: &str| events.iter().any(|event| event["data"].to_string().contains(text));
    if state.refuses.is_some_and(has) {
        return (StatusCode::BAD_REQUEST, json!({"error": "invalid body"}));
    }
    let events = events.into_iter().map(|event| {
        let id = text(&event, "id");
        let (seq, prev, generation) = (number(&event, "seq"), number(&event, "prev"), number(&event, "generation"));
        Incoming::new(seq, prev, &id, generation, &text(&event, "kind"), event["data"].clone())
    });
    let batch = Batch { mailbox_id: text(body, "mailbox-id"), lease: number(body, "lease"), events: events.collect() };
    let Some(known) = state.sessions.get(id).map(|session| session.known.clone()) else { return not_found() };
    match state.change(id, |desk, decide| desk::on_batch(desk, decide, &key(), batch, &known)) {
        Ok(answer) => answer.answer(),
        Err(refused) => refused.answer(),
    }
}

fn notice(plane: &Plane, id: &str, body: &Value) -> Answer {
    let mut state = plane.lock();
    let Some(session) = state.sessions.get_mut(id) else { return not_found() };
    if session.notices.contains(&text(body, "id")) {
        return (StatusCode::OK, json!({"ok": true}));
    }
    let notice = Notice {
        code: text(body, "code"),
        message: text(body, "message"),
        lease: body["lease"].as_u64(),
        data: body.get("data").cloned(),
    };
    match state.change(id, |desk, decide| desk::on_notice(desk, decide, &key(), notice)) {
        Ok(()) => {
            state.sessions.get_mut(id).unwrap().notices.push(text(body, "id"));
            (StatusCode::OK, json!({"ok": true}))
        }
        Err(refused) => refused.answer(),
    }
}
