//! What the file may say. Every value keeps its place, so that a problem found later can still point to it.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::application::AppShape;

use super::{
    cors::Cors,
    deflate::Deflate,
    http_options::HttpOptions,
    log::Log,
    problem::Problem,
    section::{Section, wrong_in_table},
    token::Token,
    units::{Bytes, BytesOrOff, WithUnit},
    values::{Number, OneOrMany, Workers},
};

/// A file in which every key that is there has the right shape. What the values mean together is checked later.
#[derive(Default, Debug)]
pub struct File {
    /// `[cluster]`
    pub cluster: Cluster,
    /// `[admin]`
    pub admin: Admin,
    /// `[redis] url`
    pub redis_url: Option<Spanned<String>>,
    /// `[log]`
    pub log: Log,
    /// `[socketio]`
    pub socketio: SocketIo,
    /// `[app]`
    pub app: serde_json::Map<String, serde_json::Value>,
}

/// `[cluster]`
#[derive(Default, Debug)]
#[allow(missing_docs)] // the keys are explained in cluster.toml
pub struct Cluster {
    pub workers: Option<Spanned<Workers>>,
    pub listen: Option<Spanned<OneOrMany>>,
    pub control: Option<Spanned<String>>,
    pub grace: Option<Spanned<WithUnit>>,
    pub start_timeout: Option<Spanned<WithUnit>>,
    pub confirm_time: Option<Spanned<WithUnit>>,
    pub max_rss: Option<Spanned<BytesOrOff>>,
    pub hang_timeout: Option<Spanned<WithUnit>>,
    pub orphan_timeout: Option<Spanned<WithUnit>>,
    pub head_timeout: Option<Spanned<WithUnit>>,
    pub worker_wait: Option<Spanned<WithUnit>>,
    pub max_connections: Option<Spanned<Number>>,
    pub max_connections_per_address: Option<Spanned<Number>>,
    pub trusted_proxies: Option<Spanned<OneOrMany>>,
    pub host: Option<Spanned<Number>>,
}

/// `[admin]`
#[derive(Default, Debug)]
#[allow(missing_docs)] // the keys are explained in cluster.toml
pub struct Admin {
    pub listen: Option<Spanned<String>>,
    pub token: Option<Spanned<Token>>,
    pub token_file: Option<Spanned<String>>,
}

/// `[socketio]`
#[derive(Default, Debug)]
#[allow(missing_docs)] // the keys are explained in cluster.toml
pub struct SocketIo {
    pub path: Option<Spanned<String>>,
    pub ping_interval: Option<Spanned<WithUnit>>,
    pub ping_timeout: Option<Spanned<WithUnit>>,
    pub upgrade_timeout: Option<Spanned<WithUnit>>,
    pub connect_timeout: Option<Spanned<WithUnit>>,
    pub max_payload: Option<Spanned<Bytes>>,
    pub max_queue: Option<Spanned<Bytes>>,
    pub cors_origins: Option<Spanned<OneOrMany>>,
    pub cors: Option<Spanned<Cors>>,
    pub parser: Option<Spanned<String>>,
    pub http: HttpOptions,
    pub per_message_deflate: Option<Spanned<Deflate>>,
    pub client_files: Option<Spanned<String>>,
    pub cleanup_empty_child_namespaces: Option<Spanned<bool>>,
}

impl File {
    /// Reads a file's text; adds what is wrong to the problems and leaves it out. `app` is the shape of the application's table.
    pub fn parse(text: &str, app: AppShape, problems: &mut Vec<Problem>) -> File {
        let (table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            // What a broken line was meant to say is unknown, so nothing is said about the keys around it.
            problems.extend(errors.iter().map(|error| Problem {
                message: format!("no valid TOML: {}", error.message()),
                way_out: None,
                span: Some(error.span().unwrap_or(0..0)),
                related: None,
            }));
            return File::default();
        }
        let mut top = Section::top(table.into_inner());

        let mut section = top.table("cluster", problems);
        let cluster = Cluster {
            workers: section.take("workers", problems),
            listen: section.take("listen", problems),
            control: section.take("control", problems),
            grace: section.take("grace", problems),
            start_timeout: section.take("start_timeout", problems),
            confirm_time: section.take("confirm_time", problems),
            max_rss: section.take("max_rss", problems),
            hang_timeout: section.take("hang_timeout", problems),
            orphan_timeout: section.take("orphan_timeout", problems),
            head_timeout: section.take("head_timeout", problems),
            worker_wait: section.take("worker_wait", problems),
            max_connections: section.take("max_connections", problems),
            max_connections_per_address: section.take("max_connections_per_address", problems),
            trusted_proxies: section.take("trusted_proxies", problems),
            host: section.take("host", problems),
        };
        section.finish(problems);

        let mut section = top.table("admin", problems);
        let admin = Admin {
            listen: section.take("listen", problems),
            token: section.take("token", problems),
            token_file: section.take("token_file", problems),
        };
        section.finish(problems);

        let mut section = top.table("log", problems);
        let log = Log::take(&mut section, problems);
        section.finish(problems);

        let redis = top.place("redis");
        let mut section = top.table("redis", problems);
        let redis_url = section.take("url", problems);
        if let (Some(place), true) = (redis, section.had_nothing()) {
            let way_out =
                "write `url = \"redis://127.0.0.1:6379\"` below it, or leave the table out to use the embedded bus";
            problems.push(Problem::at(Some(place), "[redis] has no `url`", way_out));
        }
        section.finish(problems);

        let mut section = top.table("socketio", problems);
        let socketio = SocketIo {
            path: section.take("path", problems),
            ping_interval: section.take("ping_interval", problems),
            ping_timeout: section.take("ping_timeout", problems),
            upgrade_timeout: section.take("upgrade_timeout", problems),
            connect_timeout: section.take("connect_timeout", problems),
            max_payload: section.take("max_payload", problems),
            max_queue: section.take("max_queue", problems),
            cors_origins: section.take("cors_origins", problems),
            cors: section.take("cors", problems),
            parser: section.take("parser", problems),
            http: HttpOptions::take(&mut section, problems),
            per_message_deflate: section.take("per_message_deflate", problems),
            client_files: section.take("client_files", problems),
            cleanup_empty_child_namespaces: section.take("cleanup_empty_child_namespaces", problems),
        };
        section.finish(problems);

        let app = application(&mut top, app, problems);
        top.finish(problems);
        File { cluster, admin, log, redis_url, socketio, app }
    }
}

/// The table `[app]`, and what its application finds wrong with it.
fn application(
    top: &mut Section<'_>,
    shape: AppShape,
    problems: &mut Vec<Problem>,
) -> serde_json::Map<String, serde_json::Value> {
    let place = top.place("app");
    let table = top.table("app", problems).into_table();
    if let Some(error) = shape.check(Spanned::new(0..0, DeValue::Table(table.clone()))) {
        // Of what is missing the place is the table.
        let span = error.span().filter(|span| !span.is_empty()).or(place);
        problems.push(wrong_in_table("app", error.message(), span));
    }
    table.into_iter().map(|(key, value)| (key.into_inner().into_owned(), to_json(value.into_inner()))).collect()
}

/// A TOML value as JSON: a date becomes its text, a float that JSON does not have becomes null.
pub fn to_json(value: DeValue<'_>) -> serde_json::Value {
    match value {
        DeValue::String(text) => text.into_owned().into(),
        DeValue::Integer(number) => i64::from_str_radix(&number.as_str().replace('_', ""), number.radix())
            .map_or_else(|_| number.to_string().into(), Into::into),
        DeValue::Float(number) => {
            number.as_str().replace('_', "").parse::<f64>().map_or(serde_json::Value::Null, Into::into)
        }
        DeValue::Boolean(value) => value.into(),
        DeValue::Datetime(date) => date.to_string().into(),
        DeValue::Array(items) => items.into_iter().map(|item| to_json(item.into_inner())).collect(),
        DeValue::Table(table) => {
            table.into_iter().map(|(key, value)| (key.into_inner().into_owned(), to_json(value.into_inner()))).collect()
        }
    }
}
