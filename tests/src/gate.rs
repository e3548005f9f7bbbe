//! A gate: a sub-agent waits at it until the test opens it.

use std::{
    fs::{File, OpenOptions, Permissions},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use rustix::fs::{CWD, FileType, Mode, mknodat};

/// A pipe with a name, which sub-agents see read-only below `$GATES`.
#[derive(Debug)]
pub struct Gate {
    name: String,
    pipe: File,
}

impl Gate {
    pub(crate) fn new(dir: &Path, name: &str) -> Self {
        let path = dir.join(name);
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
        // Whatever the umask took away: sub-agents are other users.
        std::fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        // Open for both, so that neither side ever waits for the other to open it.
        let pipe = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        Self {
            name: name.to_owned(),
            pipe,
        }
    }

    /// The line of a script that waits here.
    pub fn wait(&self) -> String {
        format!("read _ < \"$GATES/{}\"", self.name)
    }

    /// Lets one sub-agent through, now or when it comes.
    pub fn open(&self) {
        self.open_for(1);
    }

    /// Lets so many through.
    pub fn open_for(&self, count: usize) {
        (&self.pipe).write_all(&vec![b'\n'; count]).unwrap();
    }
}
