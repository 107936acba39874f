//! JSON-RPC, as far as this protocol uses it: one message a body.

use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use crate::head::answer;
use crate::{MAX_BODY_BYTES, Outcome, Tool};

/// Versions of the protocol that are spoken, the newest last.
pub(crate) const VERSIONS: [&str; 3] = ["2025-03-26", "2025-06-18", "2025-11-25"];
const NEWEST: &str = "2025-11-25";

const PARSE_ERROR: i64 = -32_700;
const INVALID_REQUEST: i64 = -32_600;
const METHOD_NOT_FOUND: i64 = -32_601;
const INVALID_PARAMS: i64 = -32_602;

/// Who answers.
#[derive(Clone, Copy, Debug)]
pub struct Server<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// What it offers.
    pub tools: &'a [Tool],
}

/// What a body comes to.
#[derive(Debug)]
pub enum Read {
    /// This is the answer.
    Answer(Response<Vec<u8>>),
    /// A tool is called.
    Call(Call),
}

/// A call of a tool that there is.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    id: Json,
    /// The name of the tool.
    pub tool: &'static str,
    /// An object. That it fits the schema is for the tool to say.
    pub arguments: Map<String, Json>,
}

#[derive(Deserialize)]
struct Message {
    jsonrpc: String,
    /// Told apart from `null`, which is no id.
    #[serde(default, deserialize_with = "given")]
    id: Option<Json>,
    method: Option<String>,
    #[serde(default)]
    params: Option<Json>,
    #[serde(default, deserialize_with = "given")]
    result: Option<Json>,
    error: Option<Json>,
}

fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

/// Reads a body.
pub fn read(server: Server<'_>, body: &[u8]) -> Read {
    let refuse = |status, code, why: &str| Read::Answer(answer(status, &failure(&Json::Null, code, why)));
    if body.len() > MAX_BODY_BYTES {
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, INVALID_REQUEST, "the message is too long");
    }
    let Ok(json) = serde_json::from_slice::<Json>(body) else {
        return refuse(StatusCode::BAD_REQUEST, PARSE_ERROR, "this is no JSON");
    };
    let invalid = || refuse(StatusCode::BAD_REQUEST, INVALID_REQUEST, "this is no message of JSON-RPC");
    let Ok(message) = Message::deserialize(json) else { return invalid() };
    if message.jsonrpc != "2.0" {
        return invalid();
    }
    match (message.method, message.id) {
        (Some(method), Some(id)) if id.is_string() || id.is_i64() || id.is_u64() => {
            let params = match message.params {
                None => Map::new(),
                Some(Json::Object(params)) => params,
                Some(_) => return invalid(),
            };
            request(server, &method, id, params)
        }
        // A notification, and the answer to a request, which nobody made: neither is answered.
        (Some(_), None) => Read::Answer(accepted()),
        (None, Some(_)) if message.result.is_some() || message.error.is_some() => Read::Answer(accepted()),
        _ => invalid(),
    }
}

fn request(server: Server<'_>, method: &str, id: Json, mut params: Map<String, Json>) -> Read {
    let result = |result: &Json| Read::Answer(success(&id, result));
    match method {
        "initialize" => {
            let asked = params.get("protocolVersion").and_then(Json::as_str).unwrap_or_default();
            let version = if VERSIONS.contains(&asked) { asked } else { NEWEST };
            result(&json!({
                "protocolVersion": version,
                "capabilities": {"tools": {}},
                "serverInfo": {"name": server.name, "version": server.version},
            }))
        }
        "ping" => result(&json!({})),
        "tools/list" => result(&json!({"tools": server.tools.iter().map(Tool::to_json).collect::<Vec<_>>()})),
        "tools/call" => {
            let name = params.get("name").and_then(Json::as_str).unwrap_or_default();
            let Some(tool) = server.tools.iter().find(|tool| tool.name == name) else {
                return Read::Answer(answer(
                    StatusCode::OK,
                    &failure(&id, INVALID_PARAMS, "there is no such tool: name"),
                ));
            };
            match params.remove("arguments").unwrap_or_else(|| json!({})) {
                Json::Object(arguments) => Read::Call(Call { id, tool: tool.name, arguments }),
                _ => {
                    Read::Answer(answer(StatusCode::OK, &failure(&id, INVALID_PARAMS, "must be an object: arguments")))
                }
            }
        }
        _ => Read::Answer(answer(StatusCode::OK, &failure(&id, METHOD_NOT_FOUND, "there is no such method"))),
    }
}

impl Call {
    /// The answer to whoever called.
    pub fn answer(&self, outcome: &Outcome) -> Response<Vec<u8>> {
        let content = |told: &Json| json!([{"type": "text", "text": told.to_string()}]);
        match outcome {
            Outcome::Done(told) => success(&self.id, &json!({"content": content(told), "structuredContent": told})),
            Outcome::Failed(told) => success(&self.id, &json!({"content": content(told), "isError": true})),
            Outcome::Arguments(field) => {
                let body = failure(&self.id, INVALID_PARAMS, &format!("missing, wrong or unknown: {field}"));
                answer(StatusCode::OK, &body)
            }
        }
    }
}

fn success(id: &Json, result: &Json) -> Response<Vec<u8>> {
    answer(StatusCode::OK, &json!({"jsonrpc": "2.0", "id": id, "result": result}))
}

fn failure(id: &Json, code: i64, message: &str) -> Json {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
}

fn accepted() -> Response<Vec<u8>> {
    let mut response = Response::new(Vec::new());
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tools() -> Vec<Tool> {
        let schema = || json!({"type": "object"});
        vec![Tool { name: "look", description: "Looks.", input: schema(), output: schema() }]
    }

    fn asked(body: &str) -> (u16, Json) {
        let tools = tools();
        let server = Server { name: "logseq", version: "1", tools: &tools };
        let response = match read(server, body.as_bytes()) {
            Read::Answer(response) => response,
            Read::Call(call) => call.answer(&Outcome::Done(json!({"saw": call.arguments}))),
        };
        (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap_or(Json::Null))
    }

    fn code(body: &str) -> (u16, i64) {
        let (status, told) = asked(body);
        (status, told["error"]["code"].as_i64().unwrap_or_default())
    }

    #[test]
    fn requests_are_answered() {
        let initialize = |version: &str| {
            let body =
                json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": version}});
            asked(&body.to_string()).1["result"]["protocolVersion"].clone()
        };
        assert_eq!(initialize("2025-06-18"), "2025-06-18");
        assert_eq!(initialize("2031-01-01"), "2025-11-25");
        assert_eq!(
            asked(r#"{"jsonrpc":"2.0","id":"a","method":"ping"}"#),
            (200, json!({"jsonrpc": "2.0", "id": "a", "result": {}}))
        );
        let (_, told) = asked(r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#);
        assert_eq!(told["result"]["tools"][0]["name"], "look");
        let (_, told) =
            asked(r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"look","arguments":{"at":1}}}"#);
        assert_eq!(told["result"]["structuredContent"], json!({"saw": {"at": 1}}));
        assert_eq!(told["result"]["content"][0]["text"], r#"{"saw":{"at":1}}"#);
    }

    #[test]
    fn what_wants_no_answer_gets_none() {
        assert_eq!(asked(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#), (202, Json::Null));
        assert_eq!(asked(r#"{"jsonrpc":"2.0","id":1,"result":null}"#), (202, Json::Null));
        assert_eq!(asked(r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}"#), (202, Json::Null));
    }

    #[test]
    fn others_are_refused() {
        assert_eq!(code("{"), (400, PARSE_ERROR));
        for body in [
            r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
            r#"{"id":1,"method":"ping"}"#,
            r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#,
            "1",
        ] {
            assert_eq!(code(body), (400, INVALID_REQUEST), "{body}");
        }
        assert_eq!(code(&" ".repeat(MAX_BODY_BYTES + 1)).0, 413);
        assert_eq!(code(r#"{"jsonrpc":"2.0","id":1,"method":"resources/list"}"#), (200, METHOD_NOT_FOUND));
        assert_eq!(
            code(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}"#),
            (200, INVALID_PARAMS)
        );
        let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"look","arguments":[]}}"#;
        assert_eq!(code(list), (200, INVALID_PARAMS));
    }

    #[test]
    fn failures_are_results_and_wrong_arguments_are_not() {
        let call = Call { id: json!(1), tool: "look", arguments: Map::new() };
        let told = |outcome| serde_json::from_slice::<Json>(call.answer(&outcome).body()).unwrap_or_default();
        let failed = told(Outcome::Failed(json!({"error": "quota"})));
        assert_eq!(
            failed["result"],
            json!({"content": [{"type": "text", "text": r#"{"error":"quota"}"#}], "isError": true})
        );
        assert_eq!(told(Outcome::Arguments("table".into()))["error"]["message"], "missing, wrong or unknown: table");
    }
}
