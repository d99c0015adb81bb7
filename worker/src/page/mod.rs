//! The demo chat's page: `/` and the few files below `/page/` that it loads.

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use roomd_wire::{ParserConfig, SocketIoConfig};

use crate::engine::HttpService;

/// Where the page loads the official client from where the engine does not serve it, as the project's first example does.
const CDN: &str = "https://cdn.socket.io/4.8.1";

/// Lets the page load scripts and styles from here and the one CDN, and connect to here; nothing else.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self' https://cdn.socket.io; style-src 'self'; \
     img-src data:; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// The page's files, ready to be served.
pub struct Page {
    index: Bytes,
}

/// One file of the page.
#[derive(Clone, PartialEq, Debug)]
pub struct PageFile {
    /// Value of the Content-Type header.
    pub content_type: &'static str,
    /// The content.
    pub body: Bytes,
}

impl Page {
    /// The page for a Socket.IO server with these options, which may serve the official client's files, too.
    pub fn new(options: &SocketIoConfig) -> Page {
        let path = &options.path;
        let folder = if options.client_files.is_some() { path.trim_end_matches('/') } else { CDN };
        let file = match options.parser {
            ParserConfig::Json => "socket.io.min.js",
            ParserConfig::Msgpack => "socket.io.msgpack.min.js",
        };
        let client = format!("{folder}/{file}");
        let index =
            include_str!("index.html").replace("{{path}}", &escape(path)).replace("{{client}}", &escape(&client));
        Page { index: index.into() }
    }

    /// Serves them.
    pub fn service(self) -> HttpService {
        HttpService::files(move |request| {
            let file = self.file(request.uri.path())?;
            if !matches!(request.method, Method::GET | Method::HEAD) {
                let mut refused = Response::new(Bytes::new());
                *refused.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
                refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
                return Some(refused);
            }
            let response = Response::builder()
                .header(header::CONTENT_TYPE, file.content_type)
                .header(header::CACHE_CONTROL, "no-cache")
                .header(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY)
                .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
                .body(file.body);
            response.ok()
        })
    }

    /// The file at a request path (without its query), if the page has one there.
    pub fn file(&self, path: &str) -> Option<PageFile> {
        let (content_type, body) = match path {
            "/" | "/index.html" => ("text/html; charset=utf-8", self.index.clone()),
            "/page/page.css" => ("text/css; charset=utf-8", Bytes::from_static(include_bytes!("page.css"))),
            "/page/page.js" => (JAVASCRIPT, Bytes::from_static(include_bytes!("page.js"))),
            "/page/fallback.js" => (JAVASCRIPT, Bytes::from_static(include_bytes!("fallback.js"))),
            _ => return None,
        };
        Some(PageFile { content_type, body })
    }
}

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn index(page: &Page) -> String {
        String::from_utf8(page.file("/").unwrap().body.to_vec()).unwrap()
    }

    fn options(path: &str, client_files: Option<&str>, parser: ParserConfig) -> SocketIoConfig {
        let client_files = client_files.map(Into::into);
        SocketIoConfig { path: path.into(), client_files, parser, ..SocketIoConfig::default() }
    }

    #[test]
    fn every_file_that_the_page_names_is_there() {
        let page = Page::new(&SocketIoConfig::default());
        let html = index(&page);
        for path in html.split('"').filter(|part| part.starts_with("/page/")) {
            assert!(page.file(path).is_some(), "{path}");
        }
        assert!(page.file("/page/fallback.js").is_some());
        assert!(page.file("/page/other").is_none());
    }

    #[test]
    fn the_client_comes_from_the_engine_or_else_from_the_cdn_and_speaks_the_servers_language() {
        for (path, files, parser, expected) in [
            ("/chat/", None, ParserConfig::Json, "https://cdn.socket.io/4.8.1/socket.io.min.js"),
            ("/chat/", None, ParserConfig::Msgpack, "https://cdn.socket.io/4.8.1/socket.io.msgpack.min.js"),
            ("/chat/", Some("x"), ParserConfig::Json, "/chat/socket.io.min.js"),
            ("/chat", Some("x"), ParserConfig::Msgpack, "/chat/socket.io.msgpack.min.js"),
        ] {
            let html = index(&Page::new(&options(path, files, parser)));
            assert!(html.contains(&format!("data-client=\"{expected}\"")), "{html}");
        }
    }

    #[test]
    fn a_path_with_quotes_stays_inside_its_attribute() {
        let html = index(&Page::new(&options("/a\"b<c/", Some("x"), ParserConfig::Json)));
        assert!(html.contains("data-path=\"/a&quot;b&lt;c/\""));
        assert!(html.contains("data-client=\"/a&quot;b&lt;c/socket.io.min.js\""));
    }
}
