//! Opens and reads plain files and folders, but no links, pipes or devices.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read},
    path::Path,
};

use crate::{Error, Result};

/// Opens the plain file at `path` for reading.
///
/// # Errors
/// Returns an error if the file does not exist, or is a link, a folder, a pipe or a device.
pub fn open(path: &Path) -> Result<File> {
    let mut options = File::options();
    options.read(true);
    open_with(options, path).map_err(Error::at("read", path))
}

/// Opens the plain file at `path` with the given options. It does not block if there is a pipe.
pub fn open_with(mut options: OpenOptions, path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC);
    }
    if path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink()) {
        return Err(io::Error::new(
            ErrorKind::InvalidInput,
            "it is a symbolic link, which is not followed; delete it",
        ));
    }
    let file = options.open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(ErrorKind::InvalidInput, "it is not a plain file"))
    }
}

/// Opens the plain file at `path` for appending, which several processes may do at a time. The file is created
/// if it does not exist.
///
/// # Errors
/// Returns an error if the file cannot be opened or created, or is a link, a folder, a pipe or a device.
pub fn append(path: &Path) -> Result<File> {
    let mut options = File::options();
    options.create(true).append(true);
    open_with(options, path).map_err(Error::at("write", path))
}

/// Reads the plain file at `path`, which may have at most `most` bytes.
///
/// # Errors
/// Returns an error if the file does not exist, is larger, or is a link, a folder, a pipe or a device.
pub fn read(path: &Path, most: u64) -> Result<Vec<u8>> {
    let file = open(path)?;
    let bad = Error::at("read", path);
    let mut bytes = Vec::new();
    // The limit is applied while reading, because a file may grow meanwhile, and files of the kernel may report
    // a size of zero.
    match file.take(most.saturating_add(1)).read_to_end(&mut bytes) {
        Err(problem) => Err(bad(problem)),
        Ok(read) if read as u64 > most => {
            let problem = format!("it has more than {most} bytes, which no such file has");
            Err(bad(io::Error::new(ErrorKind::InvalidData, problem)))
        }
        Ok(_) => Ok(bytes),
    }
}

/// Reads the plain file at `path` as text; see [`read`].
///
/// # Errors
/// Returns an error for the reasons given at [`read`], and if the file is not UTF-8.
pub fn read_to_string(path: &Path, most: u64) -> Result<String> {
    let not_text = |_| io::Error::new(ErrorKind::InvalidData, "it is not text");
    String::from_utf8(read(path, most)?).map_err(not_text).map_err(Error::at("read", path))
}

/// Whether `path` is a folder, and not a link to one.
pub fn is_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir())
}

/// Creates the folder `path` if it does not exist. Its parent folder must exist.
///
/// # Errors
/// Returns an error if the folder cannot be created, or `path` is something else, such as a link to a folder.
pub fn make_folder(path: &Path) -> Result<()> {
    match fs::create_dir(path) {
        Err(problem) if problem.kind() == ErrorKind::AlreadyExists && is_folder(path) => Ok(()),
        Err(problem) if problem.kind() == ErrorKind::AlreadyExists => {
            let problem = io::Error::new(ErrorKind::AlreadyExists, "something else than a folder is there");
            Err(Error::at("create", path)(problem))
        }
        created => created.map_err(Error::at("create", path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        assert!(read(&path, 4).unwrap_err().is_not_found());
        fs::write(&path, "1234").unwrap();
        assert_eq!(read(&path, 4).unwrap(), b"1234");
        assert!(
            read(&path, 3)
                .unwrap_err()
                .to_string()
                .ends_with("it has more than 3 bytes, which no such file has")
        );
        fs::write(&path, b"\xff").unwrap();
        assert!(read_to_string(&path, 9).unwrap_err().to_string().ends_with("it is not text"));
        assert!(read(dir.path(), 4).is_err());
        make_folder(dir.path()).unwrap();
        assert!(make_folder(&path).is_err() && !is_folder(&path));
    }

    #[test]
    #[cfg(unix)]
    fn links_pipes_and_devices_are_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("secret"), "secret").unwrap();
        fs::create_dir(at("folder")).unwrap();
        for (link, target) in [("link", "secret"), ("folder-link", "folder"), ("nowhere", "nothing")] {
            std::os::unix::fs::symlink(at(target), at(link)).unwrap();
        }
        assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        for name in ["link", "folder-link", "nowhere", "pipe"] {
            assert!(read(&at(name), 100).is_err() && append(&at(name)).is_err(), "{name}");
        }
        assert!(fs::read_to_string(at("secret")).unwrap() == "secret" && !at("nothing").exists());
        for _ in 0..2 {
            io::Write::write_all(&mut append(&at("log")).unwrap(), b"line\n").unwrap();
        }
        assert_eq!(fs::read_to_string(at("log")).unwrap(), "line\nline\n");
        assert!(read(Path::new("/dev/zero"), 100).is_err());
        assert!(make_folder(&at("folder-link")).is_err() && !is_folder(&at("folder-link")));
    }
}
