//! The status page as HTML: whole without its script, which only asks for it again (self-host.md 4.5). What others have chosen is
//! text, never code.

use std::fmt::Write as _;

use super::data::{Device, Graph, Status};

/// The page's look.
pub(super) const STYLE: &str = include_str!("assets/status.css");

/// What asks for the page again.
pub(super) const SCRIPT: &str = include_str!("assets/status.js");

/// Everything around what a page says. The address of a form is sent along to this server alone, so that it knows its own.
fn around(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"referrer\" content=\"same-origin\"><meta name=\"robots\" content=\"noindex\">\
         <link rel=\"stylesheet\" href=\"status/status.css\"></head><body>{body}</body></html>\n"
    )
}

/// A text as the content of an element or of an attribute.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Those that turn the direction of what follows would change how other texts read.
            c if c.is_control()
                || "\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}".contains(c) =>
            {
                out.push('\u{fffd}');
            }
            c => out.push(c),
        }
    }
    out
}

/// The page of whoever is not known: a form for a token, and why the last one was refused.
pub(super) fn login(trouble: Option<&str>) -> String {
    let trouble =
        trouble.map(|text| format!("<p role=\"alert\" class=\"bad\">{}</p>", escaped(text))).unwrap_or_default();
    around(
        "Sign in - logseq-sync",
        &format!(
            "<main><h1>logseq-sync</h1>{trouble}<form method=\"post\" action=\"status/login\">\
             <label for=\"token\">Your token, or the operator's</label>\
             <input id=\"token\" name=\"token\" type=\"password\" autocomplete=\"off\" required autofocus>\
             <button>Show the status</button></form></main>"
        ),
    )
}

/// The same below the page's folder, as the answer to a form that was sent there.
pub(super) fn login_again(trouble: &str) -> String {
    login(Some(trouble)).replace("status/status.css", "status.css").replace("status/login", "login")
}

/// The page of whoever is known. Without a session there is nothing to end.
pub(super) fn status(status: &Status, has_session: bool) -> String {
    let mut out = String::from("<header><h1>logseq-sync</h1>");
    if has_session {
        out.push_str("<form method=\"post\" action=\"status/logout\"><button>Sign out</button></form>");
    }
    out.push_str("</header><main id=\"status\">");
    let devices = || status.graphs.iter().flat_map(|graph| &graph.devices);
    let behind = devices().filter(|device| device.behind > 0).count();
    let words = match behind {
        0 => "All devices agree.".to_owned(),
        1 => "One device has not seen everything.".to_owned(),
        more => format!("{more} devices have not seen everything."),
    };
    let class = if behind == 0 { "good" } else { "bad" };
    let _ = write!(out, "<p role=\"status\" class=\"{class}\" id=\"agreement\">{words}</p>");
    server(&mut out, status);
    for (number, graph) in status.graphs.iter().enumerate() {
        self::graph(&mut out, number, graph);
    }
    if status.graphs.is_empty() {
        out.push_str("<p>There are no graphs yet.</p>");
    }
    if status.truncated {
        out.push_str("<p>There are more graphs: those that changed last are shown.</p>");
    }
    out.push_str("</main><script src=\"status/status.js\" defer></script>");
    around("Status - logseq-sync", &out)
}

fn server(out: &mut String, status: &Status) {
    let server = &status.server;
    let facts = [
        ("Version", format!("{} ({})", server.version, server.revision)),
        ("Running for", duration(server.uptime_s)),
        ("Signing in by", server.auth.join(", ")),
        ("Free on the disk", bytes(server.free_bytes)),
        ("Last backup", server.last_backup.clone().unwrap_or_else(|| "never".into())),
    ];
    out.push_str("<section aria-labelledby=\"server\"><h2 id=\"server\">Server</h2>");
    list(out, &facts);
    let degraded = server.degraded.iter().map(|text| ("bad", *text));
    for (class, text) in degraded.chain(server.warnings.iter().map(|text| ("warning", text.as_str()))) {
        let _ = write!(out, "<p class=\"{class}\">{}</p>", escaped(text));
    }
    out.push_str("</section>");
}

fn list(out: &mut String, facts: &[(&str, String)]) {
    out.push_str("<dl>");
    for (name, value) in facts {
        let _ = write!(out, "<div><dt>{name}</dt><dd>{}</dd></div>", escaped(value));
    }
    out.push_str("</dl>");
}

fn graph(out: &mut String, number: usize, graph: &Graph) {
    let name = graph.graph_name.as_deref().unwrap_or(&graph.graph_id);
    let _ = write!(out, "<section aria-labelledby=\"graph-{number}\"><h2 id=\"graph-{number}\">{}</h2>", escaped(name));
    let state = match (graph.ready, graph.e2ee) {
        (false, _) => "an upload has not ended",
        (true, true) => "encrypted end to end",
        (true, false) => "ready",
    };
    let facts = [
        ("Id", graph.graph_id.clone()),
        ("State", state.to_owned()),
        ("Transactions", graph.t.to_string()),
        ("Checksum", graph.checksum.clone().unwrap_or_else(|| "-".into())),
        ("Size", format!("{}, assets {}", bytes(graph.size_bytes), bytes(graph.assets_bytes))),
        ("Owner", graph.owner.clone().unwrap_or_else(|| "-".into())),
        ("Members", graph.members.join(", ")),
        ("Changed", graph.updated_at.clone().unwrap_or_else(|| "-".into())),
    ];
    list(out, &facts);
    if graph.devices.is_empty() {
        out.push_str("<p>No device was here in the last 24 hours.</p></section>");
        return;
    }
    // A table that is wider than the page is moved within it, by keys too.
    out.push_str(
        "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"Devices\"><table><thead><tr>\
         <th scope=\"col\">Device</th><th scope=\"col\">Client</th><th scope=\"col\">Connected</th>\
         <th scope=\"col\">Since</th><th scope=\"col\">Has seen</th><th scope=\"col\">Behind</th>\
         <th scope=\"col\">Last heard of</th></tr></thead><tbody>",
    );
    graph.devices.iter().for_each(|device| row(out, device));
    out.push_str("</tbody></table></div></section>");
}

fn row(out: &mut String, device: &Device) {
    let behind = if device.behind == 0 { "good" } else { "bad" };
    let _ = write!(
        out,
        "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"{behind}\">{}</td><td>{}</td></tr>",
        escaped(&device.user),
        device.client,
        if device.connected { "yes" } else { "no" },
        device.since,
        device.seen_t,
        device.behind,
        device.last_seen
    );
}

fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut whole, mut unit) = (bytes, 0);
    while whole >= 10_240 && unit + 1 < UNITS.len() {
        (whole, unit) = (whole / 1024, unit + 1);
    }
    format!("{whole} {}", UNITS.get(unit).unwrap_or(&"B"))
}

fn duration(seconds: u64) -> String {
    match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60) {
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_others_are_no_code() {
        assert_eq!(escaped("<b a='1'>&\"\u{202e}\u{7}"), "&lt;b a=&#39;1&#39;&gt;&amp;&quot;\u{fffd}\u{fffd}");
        assert!(!login(Some("<script>")).contains("<script>"));
    }

    #[test]
    fn amounts_are_read_at_a_glance() {
        assert_eq!(
            [bytes(0), bytes(10_239), bytes(10_240), bytes(u64::MAX)],
            ["0 B", "10239 B", "10 KiB", "16777215 TiB"]
        );
        assert_eq!([duration(59), duration(3_660), duration(90_000)], ["0 min", "1 h 1 min", "1 d 1 h"]);
    }
}
