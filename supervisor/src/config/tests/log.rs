//! `[log]`.

use super::{
    super::{LogConfig, LogFormat},
    load, problems, sources,
};

#[test]
fn the_log_is_as_the_file_says_and_the_environment_wins() {
    let text = "[log]\nformat = \"json\"\nfilter = \"warn,roomd=debug\"\nlines_per_cause = 0\nlines_per_worker = 5\n";
    let file = LogConfig {
        format: LogFormat::Json,
        filter: "warn,roomd=debug".into(),
        lines_per_cause: 0,
        lines_per_worker: 5,
    };
    assert_eq!(load(text).log, file);
    let folder = super::folder(text);
    let over = sources(folder.path(), &[("RUST_LOG", "trace"), ("ROOMD_LOG_FORMAT", "text")]).load().unwrap().log;
    assert_eq!(over, LogConfig { format: LogFormat::Text, filter: "trace".into(), ..file });
    assert_eq!(load("").log, LogConfig::default());
}

#[test]
fn what_is_wrong_with_it_is_shown_at_its_place() {
    let text = "[log]\nformat = \"jsn\"\nfilter = \"info,roomd=loud\"\nlines_per_cause = -1\nlines = 3\n";
    let shown = problems(text);
    for words in [
        "cluster.toml:2:10",
        "\"auto\", \"text\" or \"json\"",
        "cluster.toml:3:10: `filter` cannot be \"info,roomd=loud\": `roomd=loud` at character 6 has no level",
        "cluster.toml:4:19: `lines_per_cause` cannot be -1",
        "cluster.toml:5:1",
    ] {
        assert!(shown.contains(words), "{words}\n{shown}");
    }
    let error = sources(super::folder("").path(), &[("ROOMD_LOG_FORMAT", "jsn")]).load().unwrap_err().to_string();
    assert!(
        error.contains("ROOMD_LOG_FORMAT cannot be \"jsn\"") && error.contains("did you mean \"json\"?"),
        "{error}"
    );
}
