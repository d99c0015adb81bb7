//! Options of `[socketio]` that have several forms.

use roomd_wire::{CookieConfig, CorsConfig, CorsOrigin, ParserConfig, PerMessageDeflate, Transports};

use super::load;

#[test]
fn options_of_http_are_as_the_official_server_has_them() {
    let socketio = |text: &str| load(&format!("[socketio]\n{text}")).socketio;
    assert_eq!(socketio("add_trailing_slash = false").path, "/socket.io");
    assert_eq!(socketio("path = \"/a/\"\nadd_trailing_slash = false").path, "/a");
    assert_eq!(socketio("parser = \"msgpack\"").parser, ParserConfig::Msgpack);
    assert_eq!(socketio("parser = \"json\"").parser, ParserConfig::Json);
    assert_eq!(socketio("transports = \"websocket\"").transports, Transports { polling: false, websocket: true });
    assert!(!socketio("allow_upgrades = false").allow_upgrades);

    let default = CookieConfig::default();
    let cors = |text: &str| socketio(text).cors.map(|config| config.origin);
    assert_eq!((cors("cors = false"), cors("cors_origins = []")), (None, None));
    assert_eq!(socketio("cors = true").cors, Some(CorsConfig::default()));
    let listed = |origin: &str| Some(CorsOrigin::Listed(vec![origin.to_owned()]));
    assert_eq!(cors("cors_origins = \"http://a.b\""), listed("http://a.b"));
    assert_eq!(cors("cors = { origin = \"http://a.b\" }"), Some(CorsOrigin::Fixed("http://a.b".into())));
    assert_eq!(cors("cors = { origin = [\"http://a.b\"] }"), listed("http://a.b"));
    assert_eq!(cors("cors = { origin = '/\\.a\\.b$/' }"), listed(r"/\.a\.b$/"));
    assert_eq!(cors("cors = { origin = true }"), Some(CorsOrigin::Reflected));
    let table = "[socketio.cors]\norigin = true\nmethods = [\"GET\", \"POST\"]\nallowed_headers = []\nexposed_headers = \"X-A, X-B\"\n\
                 credentials = true\nmax_age = \"10m\"\noptions_success_status = 200\npreflight_continue = true";
    let all = CorsConfig {
        origin: CorsOrigin::Reflected,
        methods: "GET,POST".into(),
        allowed_headers: Some(String::new()),
        exposed_headers: "X-A, X-B".into(),
        credentials: true,
        max_age_s: Some(600),
        options_success_status: 200,
        preflight_continue: true,
    };
    assert_eq!(socketio(table).cors, Some(all));

    let threshold = |text: &str| socketio(text).http_compression.map(|on| on.threshold_bytes);
    assert_eq!((threshold(""), threshold("http_compression = true")), (Some(1024), Some(1024)));
    assert_eq!(threshold("http_compression = false"), None);
    assert_eq!(threshold("http_compression = { threshold = \"4KiB\" }"), Some(4096));

    assert_eq!(socketio("cookie = false").cookie, None);
    assert_eq!(socketio("cookie = true").cookie, Some(default.clone()));
    assert_eq!(socketio("cookie = \"sid\"").cookie, Some(CookieConfig { name: "sid".into(), ..default.clone() }));
    let table = "cookie = { domain = \"a.b\", max_age = \"1d\", secure = true, same_site = false, path = \"\" }";
    let changed = CookieConfig {
        domain: Some("a.b".into()),
        max_age_s: Some(86_400),
        secure: true,
        same_site: None,
        path: None,
        ..default
    };
    assert_eq!(socketio(table).cookie, Some(changed));
}

#[test]
fn compression_is_a_switch_or_a_table() {
    let default = PerMessageDeflate::default();
    for (value, expected) in [
        ("false", None),
        ("true", Some(default.clone())),
        ("{}", Some(default.clone())),
        ("{ level = 1 }", Some(PerMessageDeflate { level: 1, ..default.clone() })),
        ("{ threshold = \"0B\" }", Some(PerMessageDeflate { threshold_bytes: 0, ..default })),
    ] {
        let config = load(&format!("[socketio]\nper_message_deflate = {value}"));
        assert_eq!(config.socketio.per_message_deflate, expected, "{value}");
    }
}
