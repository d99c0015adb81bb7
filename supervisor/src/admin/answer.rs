//! What each path answers that tells something.

use hyper::{Method, Request, Response, StatusCode, header};

use super::metrics;
use crate::status::{ClusterState, Status};

const TEXT: &str = "text/plain; charset=utf-8";
pub const JSON: &str = "application/json";

/// A path that there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Page {
    Healthz,
    Readyz,
    Status,
    Metrics,
}

impl Page {
    fn at(path: &str) -> Option<Page> {
        match path {
            "/healthz" => Some(Page::Healthz),
            "/readyz" => Some(Page::Readyz),
            "/status" => Some(Page::Status),
            "/metrics" => Some(Page::Metrics),
            _ => None,
        }
    }
}

/// Whether who asks at this path need not show anything: probes, which have no place for a secret and learn one word.
pub fn is_open(path: &str) -> bool {
    matches!(Page::at(path), Some(Page::Healthz | Page::Readyz))
}

/// What a request is told without asking the supervise loop: that it asks for nothing there is.
pub fn refusal<B>(request: &Request<B>) -> Option<Response<String>> {
    if Page::at(request.uri().path()).is_none() {
        let body = "not found: there are /dashboard for people, /healthz, /readyz, /status and /metrics; and to POST to /emit, /sockets/join, /sockets/leave and /sockets/disconnect\n";
        return Some(respond(StatusCode::NOT_FOUND, TEXT, body.into()));
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n".into());
        response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
        return Some(response);
    }
    None
}

/// What a request is told by the cluster's status; none means that the supervise loop did not answer.
pub fn answer<B>(request: &Request<B>, status: Option<&Status>) -> Response<String> {
    let Some(status) = status else {
        return respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, "the supervisor does not answer\n".into());
    };
    match Page::at(request.uri().path()) {
        None => respond(StatusCode::NOT_FOUND, TEXT, String::new()),
        Some(Page::Healthz) => respond(StatusCode::OK, TEXT, "ok\n".into()),
        Some(Page::Readyz) => match not_ready(status, ignores_bus(request.uri().query().unwrap_or_default())) {
            None => respond(StatusCode::OK, TEXT, "ready\n".into()),
            Some(reason) => respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{reason}\n")),
        },
        Some(Page::Status) => match serde_json::to_string(status) {
            Ok(json) => respond(StatusCode::OK, JSON, json),
            Err(error) => respond(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
        },
        Some(Page::Metrics) => match metrics::render(status) {
            Ok(text) => respond(StatusCode::OK, metrics::CONTENT_TYPE, text),
            Err(error) => respond(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
        },
    }
}

/// Why a load balancer should send nobody here; all reasons, separated by semicolons.
fn not_ready(status: &Status, ignore_bus: bool) -> Option<String> {
    let mut reasons = Vec::new();
    if status.supervisor.state == ClusterState::Stopping {
        reasons.push("stopping".to_string());
    }
    if status.ready() == 0 {
        reasons.push(format!("no worker is ready (0 of {})", status.supervisor.wanted_workers));
    }
    if !ignore_bus {
        reasons.extend(status.bus_trouble());
    }
    if reasons.is_empty() { None } else { Some(reasons.join("; ")) }
}

fn ignores_bus(query: &str) -> bool {
    query.split('&').any(|pair| pair == "bus=ignore")
}

/// An answer.
pub fn respond(status: StatusCode, content_type: &'static str, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    // Each answer is about this moment.
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::status::{BusState, WorkerState, sample};

    fn request(method: &str, target: &str) -> Request<()> {
        Request::builder().method(method).uri(target).body(()).unwrap()
    }

    fn readyz(target: &str, status: &Status) -> (u16, String) {
        let response = answer(&request("GET", target), Some(status));
        (response.status().as_u16(), response.into_body())
    }

    #[test]
    fn readiness_tells_every_reason_and_can_leave_the_bus_out() {
        let mut status = sample();
        assert_eq!(
            readyz("/readyz", &status),
            (503, "the redis bus has been down for 75 s: connection refused\n".into())
        );
        assert_eq!(readyz("/readyz?a=b&bus=ignore", &status), (200, "ready\n".into()));
        status.bus.state = BusState::Up;
        assert_eq!(readyz("/readyz", &status), (200, "ready\n".into()));
        (status.workers[0].bus_up, status.workers[0].bus_reason) = (Some(false), Some("cut off".into()));
        let reason = "the redis bus is down in 1 of 1 ready workers: cut off (slot 0)\n";
        assert_eq!(readyz("/readyz", &status), (503, reason.into()));
        assert_eq!(readyz("/readyz?bus=ignore", &status), (200, "ready\n".into()));
        // One that ends counts no more.
        status.workers[0].state = WorkerState::Draining;
        assert_eq!(readyz("/readyz", &status), (503, "no worker is ready (0 of 2)\n".into()));
        status.supervisor.state = ClusterState::Stopping;
        assert_eq!(readyz("/readyz?bus=ignore", &status), (503, "stopping; no worker is ready (0 of 2)\n".into()));
    }

    #[test]
    fn unknown_paths_are_404_and_other_methods_405() {
        for path in ["/", "/healthz/", "/metrics/x", "/HEALTHZ"] {
            assert_eq!(refusal(&request("GET", path)).unwrap().status(), 404, "{path}");
        }
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "PURGE"] {
            let response = refusal(&request(method, "/readyz")).unwrap();
            assert_eq!(
                (response.status().as_u16(), &response.headers()["allow"]),
                (405, &"GET, HEAD".parse().unwrap())
            );
        }
        assert!(refusal(&request("HEAD", "/status?x")).is_none());
    }

    #[test]
    fn health_is_that_the_supervise_loop_answers() {
        assert_eq!(answer(&request("GET", "/healthz"), Some(&sample())).status(), 200);
        assert_eq!(answer(&request("GET", "/healthz"), None).status(), 503);
    }

    #[test]
    fn the_status_is_the_json_of_the_command() {
        let response = answer(&request("GET", "/status"), Some(&sample()));
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(serde_json::from_str::<Status>(response.body()).unwrap(), sample());
    }
}
