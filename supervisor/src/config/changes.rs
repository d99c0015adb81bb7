//! What of a configuration cannot change while the cluster runs.

use super::{file::File, sources::Sources, types::Config};
use crate::application::AppShape;

/// A key whose new value only a restart could bring into force.
struct Fixed {
    /// As it is shown.
    key: &'static str,
    differs: fn(&Config, &Config) -> bool,
    /// Where the file says it.
    place: fn(&File) -> Option<std::ops::Range<usize>>,
}

const FIXED: [Fixed; 5] = [
    Fixed {
        key: "[cluster] listen",
        differs: |a, b| a.listen != b.listen,
        place: |file| file.cluster.listen.as_ref().map(|value| value.span()),
    },
    Fixed {
        key: "[cluster] control",
        differs: |a, b| a.control != b.control,
        place: |file| file.cluster.control.as_ref().map(|value| value.span()),
    },
    Fixed {
        key: "[cluster] host",
        differs: |a, b| a.host != b.host,
        place: |file| file.cluster.host.as_ref().map(|value| value.span()),
    },
    Fixed {
        key: "[admin] listen",
        differs: |a, b| a.admin != b.admin,
        place: |file| file.admin.listen.as_ref().map(|value| value.span()),
    },
    Fixed {
        key: "[redis] url",
        differs: |a, b| a.bus != b.bus,
        place: |file| file.redis_url.as_ref().map(|value| value.span()),
    },
];

impl Sources {
    /// The keys whose values in `new` only a restart could bring into force, each with its place in the file; `None` if there are
    /// none.
    pub fn needs_restart(&self, new: &Config, running: &Config) -> Option<String> {
        let mut changed = FIXED.iter().filter(|fixed| (fixed.differs)(new, running)).peekable();
        changed.peek()?;
        let (name, text) = self.text();
        let file = File::parse(&text, AppShape::default(), &mut Vec::new());
        let named = changed.map(|fixed| match (fixed.place)(&file) {
            Some(span) => {
                let (line, column) = super::problem::line_and_column(&text, &span);
                format!("{} ({name}:{line}:{column})", fixed.key)
            }
            // It was taken out of the file.
            None => format!("{} (no longer in {name})", fixed.key),
        });
        Some(named.collect::<Vec<_>>().join(", "))
    }
}
