//! The absolute place of the transfer root, and of directories relative to it.
//! Rules with the `/` modifier see absolute paths, and a merge file named by a path is looked for from there on.

use std::io;

use crate::merge::{self, MergeFiles};

/// The absolute path of the transfer root without a trailing slash: empty for `/`, and where nobody knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Root(Box<[u8]>);

/// A directory that may hold merge files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the transfer, relative to its root.
    Inside(Vec<u8>),
    /// Outside the transfer, an absolute path; empty for `/`.
    Outside(Vec<u8>),
}

impl Root {
    pub(crate) fn new(path: &[u8]) -> Self {
        Self(clean(path).into())
    }

    /// The root as the first part of a path: without leading slash, with a trailing one, or empty.
    pub(crate) fn as_prefix(&self) -> Vec<u8> {
        match self.0.split_first() {
            Some((_, path)) => [path, b"/"].concat(),
            None => Vec::new(),
        }
    }

    /// The absolute path of a place.
    pub(crate) fn absolute(&self, place: &Place) -> Vec<u8> {
        match place {
            Place::Inside(dir) if dir.is_empty() => self.0.to_vec(),
            Place::Inside(dir) => [&self.0, b"/".as_slice(), dir].concat(),
            Place::Outside(dir) => dir.clone(),
        }
    }

    /// The place of an absolute path in the form of [`clean`].
    fn locate(&self, path: &[u8]) -> Place {
        match path.strip_prefix(&*self.0) {
            Some([]) => Place::Inside(Vec::new()),
            Some([b'/', dir @ ..]) => Place::Inside(dir.to_vec()),
            _ => Place::Outside(path.to_vec()),
        }
    }

    /// The directory and the last component of `name` as seen from `from`.
    pub(crate) fn resolve(&self, from: &Place, name: &[u8]) -> (Place, Vec<u8>) {
        let path = match name {
            [b'/', ..] => clean(name),
            _ => clean(&[&self.absolute(from), b"/".as_slice(), name].concat()),
        };
        let slash = path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        let name = path.get(slash + 1..).unwrap_or_default().to_vec();
        (self.locate(&path[..slash]), name)
    }

    /// The directories from `top` down to the parent of `bottom`; none if `top` is not above `bottom`.
    pub(crate) fn between(&self, top: &Place, bottom: &Place) -> Vec<Place> {
        let (top, bottom) = (self.absolute(top), self.absolute(bottom));
        let above = bottom.strip_prefix(top.as_slice()).is_some_and(|rest| rest.first() == Some(&b'/'));
        if !above {
            return Vec::new();
        }
        (top.len()..bottom.len())
            .filter(|&end| bottom[end] == b'/')
            .map(|end| self.locate(&bottom[..end]))
            .collect()
    }

    /// The path that leads from `dir`, a directory above the root, to the root: `b/c/` from `/a` to `/a/b/c`.
    pub(crate) fn below(&self, dir: &[u8]) -> Vec<u8> {
        match self.0.strip_prefix(dir) {
            Some([b'/', path @ ..]) => [path, b"/"].concat(),
            _ => Vec::new(),
        }
    }
}

impl Place {
    /// Reads a merge file of this directory; names that cannot be a file are absent.
    pub(crate) fn read(&self, files: &dyn MergeFiles, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let content = match (self, name) {
            (_, b"" | b"." | b"..") => None,
            (Self::Inside(dir), _) => files.read(dir, name)?,
            (Self::Outside(dir), _) if dir.is_empty() => files.read_above(b"/", name)?,
            (Self::Outside(dir), _) => files.read_above(dir, name)?,
        };
        merge::check_size(content)
    }

    /// The path of a file in this directory, for messages.
    pub(crate) fn join(&self, name: &[u8]) -> Vec<u8> {
        match self {
            Self::Inside(dir) if dir.is_empty() => name.to_vec(),
            Self::Inside(dir) | Self::Outside(dir) => [dir, b"/".as_slice(), name].concat(),
        }
    }
}

/// An absolute path without empty components, `.` and `..`; empty for `/`.
fn clean(path: &[u8]) -> Vec<u8> {
    let mut components: Vec<&[u8]> = Vec::new();
    for component in path.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => drop(components.pop()),
            _ => components.push(component),
        }
    }
    components.iter().flat_map(|component| [b"/".as_slice(), component]).collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inside(dir: &str) -> Place {
        Place::Inside(dir.into())
    }

    fn outside(dir: &str) -> Place {
        Place::Outside(dir.into())
    }

    #[test]
    fn names_resolve_to_directory_and_component() {
        let root = Root::new(b"/a/b//c/./");
        for (from, name, place, component) in [
            ("", "/.rules", outside(""), ".rules"),
            ("", "../../x", outside("/a"), "x"),
            ("", "../../../../x", outside(""), "x"),
            ("d", "../x", inside(""), "x"),
            ("d", "e/x", inside("d/e"), "x"),
            ("d", "/a/bc/x", outside("/a/bc"), "x"),
            ("", "/", outside(""), ""),
        ] {
            let resolved = root.resolve(&inside(from), name.as_bytes());
            assert_eq!(resolved, (place, component.into()), "{name} from {from}");
        }
    }

    #[test]
    fn parents_are_listed_from_the_top_down() {
        let root = Root::new(b"/a/b");
        let parents = root.between(&outside(""), &inside("c/d"));
        assert_eq!(parents, [outside(""), outside("/a"), inside(""), inside("c")]);
        assert_eq!(root.between(&inside(""), &inside("")), []);
        assert_eq!(root.between(&inside("x"), &inside("xy/z")), []);
        assert_eq!(Root::default().between(&inside(""), &inside("c/d")), [inside(""), inside("c")]);
    }

    #[test]
    fn the_root_is_seen_from_its_parents() {
        let root = Root::new(b"/a/b");
        assert_eq!(root.as_prefix(), b"a/b/");
        assert_eq!(root.below(b""), b"a/b/");
        assert_eq!(root.below(b"/a"), b"b/");
        assert_eq!(Root::default().as_prefix(), b"");
    }
}
