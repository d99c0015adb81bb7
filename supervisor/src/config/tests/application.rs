//! The application's own table.

use super::{Sources, folder, load, problems, sources};
use crate::application::AppShape;

#[test]
fn the_applications_table_is_passed_on_unread_and_bounded() {
    let config = load("[app]\nmotd = \"hi\"\nlimits = { a = 1, b = [1.5, true, 0x10] }\nday = 2026-01-01");
    let expected = serde_json::json!({"motd": "hi", "limits": {"a": 1, "b": [1.5, true, 16]}, "day": "2026-01-01"});
    assert_eq!(config.app, expected);
    assert!(problems(&format!("[app]\nx = \"{}\"", "y".repeat(70_000))).contains("65536 are the most"));
}

/// A table as an application may have it.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)] // only its shape matters
struct Shop {
    motd: String,
    limits: Option<Limits>,
}

#[derive(serde::Deserialize)]
#[allow(dead_code)] // only its shape matters
struct Limits {
    per_second: u32,
}

#[test]
fn the_applications_table_has_the_applications_own_shape() {
    let shop = |text: &str| {
        let folder = folder(text);
        Sources { app: AppShape::of::<Shop>(), ..sources(folder.path(), &[]) }.load().map_err(|error| error.to_string())
    };
    assert_eq!(shop("[app]\nmotd = \"hi\"\n[app.limits]\nper_second = 3").unwrap().app["limits"]["per_second"], 3);
    for (text, shown) in [
        (
            "[cluster]\nworkers = 1\n\n[app]\nmotd = 3",
            "cluster.toml:5:8: a value in [app] cannot be integer `3`\n 5 | motd = 3\n   |        ^\n   = give a string\n",
        ),
        (
            "[app]\nmotd = \"hi\"\nlimits = { per_second = -1 }",
            "cluster.toml:3:25: a value in [app] cannot be integer `-1`\n 3 | limits = { per_second = -1 }\n   |                         ^^\n   = give u32\n",
        ),
        (
            "[app]\nmotd = \"hi\"\nmodt = 1",
            "cluster.toml:3:1: [app]: unknown field `modt`\n 3 | modt = 1\n   | ^^^^\n   = give `motd` or `limits`\n",
        ),
        (
            "[app]\n",
            "cluster.toml:1:2: [app]: missing field `motd`\n 1 | [app]\n   |  ^^^\n   = write it below `[app]`\n",
        ),
        ("", "[app]: missing field `motd`\n   = write it below `[app]`\n"),
    ] {
        assert_eq!(shop(text).unwrap_err(), shown, "{text}");
    }
}
