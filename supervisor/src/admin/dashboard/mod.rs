//! The dashboard: a page that asks `/status` each second and draws what it is told.
//!
//! Everything it consists of is compiled in, and it loads nothing from elsewhere. The files hold no figures and no secrets, so they
//! are answered to everybody who reaches the listener; where `/status` asks for a token, the page asks its reader for it.
//!
//! `main.js` asks and shows; `rates.js` makes rates of counters, `history.js` keeps ten minutes, `chart.js` draws them, `panels.js`
//! writes tables, `banner.js` says what is wrong, `token.js` keeps the token.

use hyper::{
    Method, Request, Response, StatusCode,
    header::{self, HeaderName, HeaderValue},
};

use super::answer::respond;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Only what this listener itself serves, asked only of it; in no frame of another page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 4] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
];

/// The page or one of its files, if the request is for one.
pub fn answer<B>(request: &Request<B>) -> Option<Response<String>> {
    let (content_type, text) = file(request.uri().path())?;
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    let mut response = respond(StatusCode::OK, content_type, text.into());
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Some(response)
}

fn file(path: &str) -> Option<(&'static str, &'static str)> {
    let script = |text| Some((SCRIPT, text));
    match path {
        "/" | "/dashboard" => Some((HTML, include_str!("index.html"))),
        "/dashboard/style.css" => Some(("text/css; charset=utf-8", include_str!("style.css"))),
        "/dashboard/icon.svg" => Some(("image/svg+xml", include_str!("icon.svg"))),
        "/dashboard/main.js" => script(include_str!("main.js")),
        "/dashboard/banner.js" => script(include_str!("banner.js")),
        "/dashboard/chart.js" => script(include_str!("chart.js")),
        "/dashboard/dom.js" => script(include_str!("dom.js")),
        "/dashboard/format.js" => script(include_str!("format.js")),
        "/dashboard/history.js" => script(include_str!("history.js")),
        "/dashboard/panels.js" => script(include_str!("panels.js")),
        "/dashboard/rates.js" => script(include_str!("rates.js")),
        "/dashboard/token.js" => script(include_str!("token.js")),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn get(path: &str) -> Option<Response<String>> {
        answer(&Request::builder().uri(path).body(()).unwrap())
    }

    #[test]
    fn the_page_and_all_that_it_loads_are_there_under_a_strict_policy() {
        let page = get("/dashboard").unwrap();
        assert_eq!(page.headers()["content-type"], HTML);
        assert_eq!(page.body(), get("/").unwrap().body());
        let scripts = include_str!("main.js").lines().chain(include_str!("chart.js").lines());
        let scripts = scripts.chain(include_str!("panels.js").lines()).chain(include_str!("banner.js").lines());
        let imported = scripts.filter_map(|line| Some(line.strip_prefix("import ")?.split_once("\"./")?.1));
        let imported = imported.map(|rest| format!("dashboard/{}", rest.trim_end_matches("\";")));
        let named = page.body().split('"').filter(|text| text.starts_with("dashboard/")).map(str::to_owned);
        let files: Vec<String> = named.chain(imported).collect();
        assert!(files.len() > 10);
        for file in files {
            let answer = get(&format!("/{file}")).unwrap_or_else(|| panic!("{file} is missing"));
            let policy = answer.headers()["content-security-policy"].to_str().unwrap();
            assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        }
    }

    #[test]
    fn nothing_in_it_is_inline_or_from_elsewhere() {
        let page = include_str!("index.html");
        for word in ["style=", "onclick", "http:", "https:", "<script>", "<style"] {
            assert!(!page.contains(word), "{word}");
        }
        assert!(!include_str!("style.css").contains("url("));
        assert!(get("/dashboard/").is_none() && get("/dashboard/mod.rs").is_none());
    }
}
