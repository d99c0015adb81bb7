//! The official client's files, served below the Socket.IO path as the official server does with `serveClient`.

use std::{
    cell::OnceCell,
    fmt, fs, io,
    io::Read,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY},
};

use super::{
    body::ResponseBody,
    compression::{Coding, compress},
    http::plain,
};

/// The file that a folder must have: its version is that of all, and the demo page loads it.
const MAIN: &str = "socket.io.min.js";

/// What may be asked for, as in the official server. What the folder lacks of them is not served.
const NAMES: [&str; 8] = [
    MAIN,
    "socket.io.min.js.map",
    "socket.io.js",
    "socket.io.js.map",
    "socket.io.esm.min.js",
    "socket.io.esm.min.js.map",
    "socket.io.msgpack.min.js",
    "socket.io.msgpack.min.js.map",
];

/// The largest file, in bytes: the official ones have at most a tenth of it.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// In so many bytes the banner is looked for, and it is the first thing in a file.
const BANNER_BYTES: usize = 512;

/// The files of one folder, as they were when it was read.
pub struct ClientFiles {
    /// The client's version in quotes.
    etag: HeaderValue,
    files: Vec<File>,
}

struct File {
    name: &'static str,
    content: Bytes,
    /// By coding, from the first time that it was asked for.
    compressed: [OnceCell<Bytes>; 2],
}

/// Why a folder is none of client files.
#[derive(Debug, thiserror::Error)]
pub enum NotClientFiles {
    /// A file, or the folder, cannot be read.
    #[error("{} cannot be read: {cause}", path.display())]
    Unreadable {
        /// What cannot be read.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The file itself was named, or one of its parts is no file.
    #[error("{} is no {expected}", path.display())]
    Kind {
        /// What is something else.
        path: PathBuf,
        /// What it should be.
        expected: &'static str,
    },
    /// There is no client in it.
    #[error("{} has no {MAIN}", .0.display())]
    NoClient(PathBuf),
    /// A file is too large to be one of the client's.
    #[error("{} is larger than {MAX_BYTES} bytes", .0.display())]
    TooLarge(PathBuf),
    /// It is unknown which client it is.
    #[error("{} does not begin with `Socket.IO v…`, and no package.json beside or above it tells its version", .0.display())]
    NoVersion(PathBuf),
}

impl ClientFiles {
    /// Reads a folder such as `client-dist` of the npm package `socket.io`.
    ///
    /// # Errors
    /// Where it cannot be read, or has no `socket.io.min.js` of a known version.
    pub fn read(folder: &Path) -> Result<ClientFiles, NotClientFiles> {
        let kind = fs::metadata(folder).map_err(|cause| unreadable(folder, cause))?;
        if !kind.is_dir() {
            return Err(NotClientFiles::Kind { path: folder.to_owned(), expected: "folder" });
        }
        let mut files = Vec::new();
        for name in NAMES {
            if let Some(content) = read(&folder.join(name))? {
                files.push(File { name, content, compressed: Default::default() });
            }
        }
        let main = files.iter().find(|file| file.name == MAIN);
        let main = main.ok_or_else(|| NotClientFiles::NoClient(folder.to_owned()))?;
        let version = banner(&main.content).or_else(|| of_package(folder));
        let etag = version.and_then(|version| HeaderValue::try_from(format!("\"{version}\"")).ok());
        let etag = etag.ok_or_else(|| NotClientFiles::NoVersion(folder.join(MAIN)))?;
        Ok(ClientFiles { etag, files })
    }

    /// The answer to a request for this file; `None` if there is no such one. As in the official server whatever the method is.
    pub(super) fn answer(&self, name: &str, request: &HeaderMap) -> Option<Response<ResponseBody>> {
        let file = self.files.iter().find(|file| file.name == name)?;
        let known = request.get(IF_NONE_MATCH).map(HeaderValue::as_bytes);
        if known.is_some_and(|known| known.strip_prefix(b"W/").unwrap_or(known) == self.etag.as_bytes()) {
            return Some(plain(StatusCode::NOT_MODIFIED, ResponseBody::full(Bytes::new())));
        }
        let coding = Coding::of(request);
        let mut response = plain(StatusCode::OK, ResponseBody::chunked(file.coded(coding)));
        let headers = response.headers_mut();
        let is_map = name.ends_with(".map");
        let kind = if is_map { "application/json; charset=utf-8" } else { "application/javascript; charset=utf-8" };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=0"));
        headers.insert(ETAG, self.etag.clone());
        if let Some(coding) = coding {
            headers.insert(CONTENT_ENCODING, coding.header());
        }
        Some(response)
    }

    /// What is added to an answer when its other headers are there. The official server leaves it out, and so a cache between may
    /// give a client what it cannot read.
    pub(super) fn vary(response: &mut Response<ResponseBody>) {
        response.headers_mut().append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

impl fmt::Debug for ClientFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.files.iter().map(|file| file.name);
        f.debug_struct("ClientFiles").field("etag", &self.etag).field("files", &names.collect::<Vec<_>>()).finish()
    }
}

impl File {
    fn coded(&self, coding: Option<Coding>) -> Bytes {
        match coding {
            None => self.content.clone(),
            Some(coding) => self.compressed[coding as usize].get_or_init(|| compress(coding, &self.content)).clone(),
        }
    }
}

/// A file's content; `None` if there is none.
fn read(path: &Path) -> Result<Option<Bytes>, NotClientFiles> {
    // Asked before it is opened: to open a pipe would wait for somebody who writes.
    match fs::metadata(path) {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Err(NotClientFiles::Kind { path: path.to_owned(), expected: "file" }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(unreadable(path, cause)),
    }
    let mut content = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut content));
    match read {
        Ok(_) if content.len() as u64 > MAX_BYTES => Err(NotClientFiles::TooLarge(path.to_owned())),
        Ok(_) => Ok(Some(content.into())),
        Err(cause) => Err(unreadable(path, cause)),
    }
}

fn unreadable(path: &Path, cause: io::Error) -> NotClientFiles {
    NotClientFiles::Unreadable { path: path.to_owned(), cause }
}

/// The version in a file's first comment.
fn banner(content: &[u8]) -> Option<String> {
    let begin = String::from_utf8_lossy(&content[..content.len().min(BANNER_BYTES)]);
    version(begin.split_once("Socket.IO v")?.1)
}

/// The version of the package that a folder belongs to: its own, or that whose `client-dist` or `dist` it is.
fn of_package(folder: &Path) -> Option<String> {
    [Some(folder), folder.parent()].into_iter().flatten().find_map(|folder| {
        let content = read(&folder.join("package.json")).ok()??;
        let package: serde_json::Value = serde_json::from_slice(&content).ok()?;
        version(package.get("version")?.as_str()?)
    })
}

/// The version that a text begins with.
fn version(text: &str) -> Option<String> {
    let in_version = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+');
    let end = text.find(|c| !in_version(c)).unwrap_or(text.len());
    Some(text[..end].to_owned()).filter(|version| version.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http::header::ACCEPT_ENCODING;
    use http_body_util::BodyExt;

    use super::*;

    const BANNER: &str = "/*!\n * Socket.IO v4.8.4\n * (c) 2014-2026 Guillermo Rauch\n */\n";

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        folder
    }

    fn headers(pairs: &[(http::HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    async fn body(response: Response<ResponseBody>) -> Bytes {
        response.into_body().collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn a_file_is_answered_with_its_kind_and_the_clients_version() {
        let folder = folder(&[(MAIN, BANNER), ("socket.io.min.js.map", "{}"), ("secret.js", "x")]);
        let files = ClientFiles::read(folder.path()).unwrap();
        for (name, kind, content) in [
            (MAIN, "application/javascript; charset=utf-8", BANNER),
            ("socket.io.min.js.map", "application/json; charset=utf-8", "{}"),
        ] {
            let response = files.answer(name, &HeaderMap::new()).unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.headers()[CONTENT_TYPE], kind);
            assert_eq!(response.headers()[CACHE_CONTROL], "public, max-age=0");
            assert_eq!(response.headers()[ETAG], "\"4.8.4\"");
            assert_eq!(body(response).await, content);
        }
        for name in ["", "secret.js", "socket.io.js", "../socket.io.min.js", "socket.io.min.js/"] {
            assert!(files.answer(name, &HeaderMap::new()).is_none(), "{name}");
        }
    }

    #[test]
    fn who_knows_the_version_is_told_no_more() {
        let folder = folder(&[(MAIN, BANNER)]);
        let files = ClientFiles::read(folder.path()).unwrap();
        for (known, status) in [
            ("\"4.8.4\"", 304),
            ("W/\"4.8.4\"", 304),
            ("\"4.8.3\"", 200),
            ("4.8.4", 200),
            ("*", 200),
            ("W/W/\"4.8.4\"", 200),
        ] {
            let response = files.answer(MAIN, &headers(&[(IF_NONE_MATCH, known)])).unwrap();
            assert_eq!(response.status(), status, "{known}");
            assert_eq!(response.headers().contains_key(ETAG), status == 200, "{known}");
        }
    }

    #[tokio::test]
    async fn a_file_is_compressed_once_as_the_client_likes() {
        let script = format!("{BANNER}{}", "x".repeat(10_000));
        let folder = folder(&[(MAIN, &script)]);
        let files = ClientFiles::read(folder.path()).unwrap();
        for (likes, coding) in [("gzip, deflate, br", "gzip"), ("deflate", "deflate")] {
            let answer = || files.answer(MAIN, &headers(&[(ACCEPT_ENCODING, likes)])).unwrap();
            assert_eq!(answer().headers()[CONTENT_ENCODING], coding);
            let (first, second) = (body(answer()).await, body(answer()).await);
            assert_eq!(first.as_ptr(), second.as_ptr(), "kept");
            let mut plain = String::new();
            match coding {
                "gzip" => flate2::read::GzDecoder::new(&*first).read_to_string(&mut plain),
                _ => flate2::read::ZlibDecoder::new(&*first).read_to_string(&mut plain),
            }
            .unwrap();
            assert_eq!(plain, script);
        }
        assert!(
            !files.answer(MAIN, &headers(&[(ACCEPT_ENCODING, "br")])).unwrap().headers().contains_key(CONTENT_ENCODING)
        );
    }

    #[test]
    fn a_file_without_a_banner_has_the_version_of_its_package() {
        for package in ["package.json", "dist/package.json"] {
            let folder = folder(&[(&format!("dist/{MAIN}"), "x"), (package, r#"{"version": "4.9.0-beta.1"}"#)]);
            let files = ClientFiles::read(&folder.path().join("dist")).unwrap();
            assert_eq!(files.etag, "\"4.9.0-beta.1\"", "{package}");
        }
    }

    #[test]
    fn what_is_no_folder_of_client_files_is_an_error() {
        let empty = folder(&[]);
        let shown = |path: &Path| ClientFiles::read(path).unwrap_err().to_string();
        assert!(shown(empty.path()).ends_with("has no socket.io.min.js"));
        assert!(shown(&empty.path().join("none")).contains("cannot be read: No such file"));
        let unknown = folder(&[(MAIN, "no banner"), ("package.json", r#"{"version": "\"\n"}"#)]);
        assert!(shown(unknown.path()).contains("does not begin with"));
        assert!(shown(&unknown.path().join(MAIN)).ends_with("is no folder"));
        let nested = folder(&[(&format!("{MAIN}/x"), "")]);
        assert!(shown(nested.path()).ends_with("socket.io.min.js is no file"));
        let large = folder(&[(MAIN, BANNER)]);
        fs::File::create(large.path().join("socket.io.js")).unwrap().set_len(MAX_BYTES + 1).unwrap();
        assert!(shown(large.path()).contains("larger than"));
    }
}
