//! Decoded images in a file, where there are too many to hold in memory.
//!
//! The file is read image by image, so that the system's own page cache decides how much of it is in memory, and processes
//! that train on the same images share it.

use std::{
    env,
    fs::{self, File},
    io::{self, BufWriter, Read, Write},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use lerp_core::ImageShape;
use sha2::{Digest, Sha256};

use crate::{
    Error, Result,
    check::hexadecimal,
    find::{file_name, is_picture},
    images::{Held, Kind, Pixels},
};

/// The environment variable that names the folder of cache files.
pub const CACHE_VARIABLE: &str = "LERP_CACHE";

/// Bytes of pixels of one part that each process holds in memory: MNIST's, but not CIFAR-10's 154 MB, which are opened six
/// times as fast from a cache file, and whose batches of 64 cost some 50 us more from it.
const IN_MEMORY: usize = 64 << 20;

/// Digits of each of the two digests in a cache file's name.
const DIGITS: usize = 16;
/// Nobody decodes images for so long.
const STALE: Duration = Duration::from_hours(24);

/// A file begins with these; another form of it gets another number.
const MAGIC: &[u8; 8] = b"lerpimg1";
/// Bytes before the pixels.
const HEADER: usize = 64;

/// Where cache files go, and which images need one.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    pub folder: Option<PathBuf>,
    pub in_memory: usize,
}

impl Cache {
    /// The folder that `LERP_CACHE` names, or `lerpbench` in the user's folder of caches; where there is neither, all images
    /// are held in memory.
    pub fn of_user() -> Self {
        let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let of_system = || {
            let home = || variable("HOME").map(|home| home.join(".cache"));
            let folder = variable("XDG_CACHE_HOME").or_else(|| variable("LOCALAPPDATA")).or_else(home);
            folder.map(|folder| folder.join("lerpbench"))
        };
        Self { folder: variable(CACHE_VARIABLE).or_else(of_system), in_memory: IN_MEMORY }
    }

    /// The file for the images in `paths`, read as `how`: another one as soon as one of them changes, whose name begins as
    /// that of the one before, `<dataset>-<digest of the places>-`. Pictures in folders count by their folders: one more is a
    /// change of the same images.
    ///
    /// # Errors
    /// If one of `paths` cannot be found.
    pub fn place(&self, how: &str, paths: &[PathBuf]) -> Result<Option<PathBuf>> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let (mut places, mut state) = (Sha256::new(), Sha256::new());
        state.update(how);
        let mut last = PathBuf::new();
        for path in paths {
            let bad = |source| Error::Io { file: path.clone(), source };
            let data = fs::metadata(path).map_err(bad)?;
            let changed = data.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            let path = path.canonicalize().map_err(bad)?;
            state.update(format!("\n{} {} {:?}", path.display(), data.len(), changed));
            let place = path.parent().filter(|_| is_picture(&path)).unwrap_or(&path);
            if place != last {
                places.update(format!("\n{}", place.display()));
                last = place.into();
            }
        }
        let plain: String = how.chars().take_while(char::is_ascii_alphanumeric).collect();
        let [places, state] = [places, state].map(|digest| hexadecimal(digest)[..DIGITS].to_owned());
        Ok(Some(folder.join(format!("{plain}-{places}-{state}.images"))))
    }
}

/// Removes what the cache file at `place` replaces: those of the same images as they were, and what processes that were
/// killed left half-written more than a day ago. What cannot be removed stays: it is in nobody's way.
fn tidy(place: &Path) {
    let Some(entries) = place.parent().and_then(|folder| fs::read_dir(folder).ok()) else { return };
    let own = file_name(place);
    let same = own.rfind('-').map_or(own.as_str(), |end| &own[..=end]);
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let name = file_name(&path);
        let replaced = name != own && name.starts_with(same) && name.ends_with(".images");
        let age = || fs::metadata(&path).ok()?.modified().ok()?.elapsed().ok();
        if replaced || (is_part(&name) && age().is_some_and(|age| age > STALE)) {
            let _ = fs::remove_file(&path);
        }
    }
}

/// Whether `name` is that of a cache file that is being written; others' files may be in the folder, too.
fn is_part(name: &str) -> bool {
    let Some((stem, process)) = name.strip_suffix(".part").and_then(|name| name.rsplit_once('.')) else {
        return false;
    };
    let digests: Vec<&str> = stem.split('-').skip(1).collect();
    let hexadecimal = |text: &&str| text.len() == DIGITS && text.bytes().all(|b| b.is_ascii_hexdigit());
    process.bytes().all(|b| b.is_ascii_digit()) && digests.len() == 2 && digests.iter().all(hexadecimal)
}

/// Pixels in a file.
#[derive(Debug)]
pub(crate) struct Stored {
    path: PathBuf,
    file: File,
    /// Bytes of pixels.
    pub pixels: usize,
}

impl Stored {
    /// Where the file is, and its bytes.
    ///
    /// # Errors
    /// If it cannot be asked.
    pub fn file(&self) -> Result<(PathBuf, u64)> {
        let bad = |source| Error::Io { file: self.path.clone(), source };
        Ok((self.path.clone(), self.file.metadata().map_err(bad)?.len()))
    }

    /// `size` bytes of pixels from `offset` on.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn read(&self, offset: usize, size: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; size];
        read_at(&self.file, &mut bytes, (HEADER + offset) as u64)
            .map_err(|source| Error::Io { file: self.path.clone(), source })?;
        Ok(bytes)
    }
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, bytes, offset)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => (bytes, offset) = (&mut bytes[n..], offset + n as u64),
        }
    }
    Ok(())
}

/// Collects the images of one part: in memory, and in a file once they are too many.
#[derive(Debug)]
pub(crate) struct Collector {
    shape: ImageShape,
    kind: Kind,
    in_memory: usize,
    place: Option<PathBuf>,
    memory: Vec<u8>,
    file: Option<Spilled>,
    gray: bool,
}

#[derive(Debug)]
struct Spilled {
    temporary: PathBuf,
    writer: BufWriter<File>,
    written: usize,
    /// Whether it got its name.
    kept: bool,
}

impl Drop for Spilled {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

impl Collector {
    pub fn new(shape: ImageShape, kind: Kind, cache: &Cache, place: Option<PathBuf>) -> Self {
        let gray = shape.channels == 3;
        Self { shape, kind, in_memory: cache.in_memory, place, memory: Vec::new(), file: None, gray }
    }

    /// Adds images.
    ///
    /// # Errors
    /// If the cache file cannot be written.
    pub fn push(&mut self, pixels: Vec<u8>) -> Result<()> {
        let channel = self.kind.size();
        self.gray = self.gray
            && pixels
                .chunks_exact(3 * channel)
                .all(|p| p[..channel] == p[channel..2 * channel] && p[..channel] == p[2 * channel..]);
        if self.memory.is_empty() && self.file.is_none() {
            self.memory = pixels;
        } else if self.file.is_none() {
            self.memory.extend(pixels);
        } else {
            return self.spill(&pixels);
        }
        if self.memory.len() > self.in_memory && self.place.is_some() {
            let memory = std::mem::take(&mut self.memory);
            self.spill(&memory)?;
        }
        Ok(())
    }

    fn spill(&mut self, pixels: &[u8]) -> Result<()> {
        let Some(place) = &self.place else { return Ok(()) };
        let temporary = place.with_extension(format!("{}.part", std::process::id()));
        let write = |file: &mut Option<Spilled>| -> io::Result<()> {
            if file.is_none() {
                fs::create_dir_all(place.parent().unwrap_or(Path::new(".")))?;
                let mut writer = BufWriter::new(File::create(&temporary)?);
                writer.write_all(&[0; HEADER])?;
                *file = Some(Spilled { temporary: temporary.clone(), writer, written: 0, kept: false });
            }
            if let Some(spilled) = file {
                spilled.writer.write_all(pixels)?;
                spilled.written += pixels.len();
            }
            Ok(())
        };
        write(&mut self.file).map_err(|source| Error::Cache { file: place.clone(), source })
    }

    /// All images, with their labels; a cache file gets its name now that it is whole.
    ///
    /// # Errors
    /// If the cache file cannot be written.
    pub fn finish(self, labels: Option<Vec<u32>>) -> Result<Held> {
        let Self { shape, kind, place, memory, file, gray, .. } = self;
        let (Some(place), Some(mut spilled)) = (place, file) else {
            return Ok(Held { shape, kind, pixels: Pixels::Memory(memory), labels, gray });
        };
        let mut write = || -> io::Result<()> {
            for label in labels.iter().flatten() {
                spilled.writer.write_all(&label.to_le_bytes())?;
            }
            spilled.writer.flush()?;
            let file = spilled.writer.get_mut();
            let header = header(shape, kind, spilled.written, labels.is_some(), gray);
            io::Seek::seek(file, io::SeekFrom::Start(0))?;
            file.write_all(&header)?;
            file.sync_all()?;
            fs::rename(&spilled.temporary, &place)?;
            spilled.kept = true;
            tidy(&place);
            Ok(())
        };
        write().map_err(|source| Error::Cache { file: place.clone(), source })?;
        drop(spilled);
        match open(&place, shape, kind)? {
            Some(held) => Ok(held),
            None => Err(Error::Cache { file: place, source: io::ErrorKind::InvalidData.into() }),
        }
    }
}

fn header(shape: ImageShape, kind: Kind, pixels: usize, labelled: bool, gray: bool) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(MAGIC);
    for (i, size) in [shape.height, shape.width, shape.channels, pixels].into_iter().enumerate() {
        header[8 + 8 * i..16 + 8 * i].copy_from_slice(&(size as u64).to_le_bytes());
    }
    header[40] = kind.size() as u8;
    header[41] = u8::from(labelled);
    header[42] = u8::from(gray);
    header
}

/// The images in the cache file at `place`; none if there is none, or it is not whole or of another form, so that it is
/// made again.
///
/// # Errors
/// If it is there and cannot be read.
pub(crate) fn open(place: &Path, shape: ImageShape, kind: Kind) -> Result<Option<Held>> {
    let bad = |source| Error::Io { file: place.into(), source };
    let mut file = match File::open(place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(bad)?,
    };
    let length = file.metadata().map_err(bad)?.len() as usize;
    let mut start = [0; HEADER];
    if length < HEADER || file.read_exact(&mut start).is_err() {
        return Ok(None);
    }
    let (labelled, gray) = (start[41] == 1, start[42] == 1);
    let mut word = [0; 8];
    word.copy_from_slice(&start[32..40]);
    let pixels = u64::from_le_bytes(word) as usize;
    let stride = shape.height * shape.width * shape.channels * kind.size();
    let labels = if labelled { 4 * (pixels / stride.max(1)) } else { 0 };
    let whole = pixels.checked_add(HEADER + labels) == Some(length) && pixels.is_multiple_of(stride.max(1));
    if !whole || start != header(shape, kind, pixels, labelled, gray) {
        return Ok(None);
    }
    let stored = Stored { path: place.into(), file, pixels };
    let labels = labelled.then(|| stored.read(pixels, labels)).transpose()?.map(|bytes| {
        let (words, _) = bytes.as_chunks::<4>();
        words.iter().map(|&word| u32::from_le_bytes(word)).collect()
    });
    Ok(Some(Held { shape, kind, pixels: Pixels::File(stored), labels, gray }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::Images;

    const SHAPE: ImageShape = ImageShape { height: 2, width: 1, channels: 3 };

    fn collect(cache: &Cache, place: Option<PathBuf>) -> Images {
        let mut collector = Collector::new(SHAPE, Kind::Bytes, cache, place);
        for i in 0..10_u8 {
            collector.push(vec![i; 6]).unwrap();
        }
        Images::new(collector.finish(Some((0..10).collect())).unwrap())
    }

    #[test]
    fn images_are_the_same_in_memory_and_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache { folder: Some(folder.path().join("new")), in_memory: 20 };
        let source = folder.path().join("source");
        fs::write(&source, "1").unwrap();
        let paths = [source.clone()];
        let place = cache.place("mine", &paths).unwrap().unwrap();
        let (in_file, in_memory) = (collect(&cache, Some(place.clone())), collect(&cache, None));
        assert!(place.exists());
        assert_eq!(
            fs::read_dir(folder.path().join("new")).unwrap().count(),
            1,
            "nothing half-written is left"
        );
        let again = Images::new(open(&place, SHAPE, Kind::Bytes).unwrap().unwrap());
        for images in [&in_file, &again] {
            assert_eq!(images.len(), 10);
            assert!(images.labels().eq(in_memory.labels()));
            assert!((0..10).all(|i| images.image(i).unwrap() == in_memory.image(i).unwrap()));
        }
        assert_eq!(Images::gray_if_gray([again.clone(), again])[0].shape.channels, 1);

        // A cache that was cut short, or is of another form, is made again.
        assert!(open(&place, SHAPE, Kind::Fixed).unwrap().is_none());
        let bytes = fs::read(&place).unwrap();
        for length in [0, 30, HEADER, bytes.len() - 1] {
            fs::write(&place, &bytes[..length]).unwrap();
            assert!(open(&place, SHAPE, Kind::Bytes).unwrap().is_none(), "cut to {length}");
        }
        fs::write(&source, "12").unwrap();
        assert_ne!(cache.place("mine", &paths).unwrap().unwrap(), place, "the source has changed");
        assert!(cache.place("mine", &[folder.path().join("absent")]).is_err());
    }

    #[test]
    fn what_a_new_file_replaces_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let cached = folder.path().join("cache");
        let cache = Cache { folder: Some(cached.clone()), in_memory: 20 };
        let sources = ["a", "b"].map(|name| folder.path().join(name));
        let make = |how: &str, path: &PathBuf, text: &str| {
            fs::write(path, text).unwrap();
            let place = cache.place(how, std::slice::from_ref(path)).unwrap().unwrap();
            collect(&cache, Some(place.clone()));
            place
        };
        let (other_set, other_file) = (make("cifar10", &sources[0], "1"), make("own x", &sources[1], "1"));
        let before = make("own x", &sources[0], "1");
        let part = |name: &str, days: u64| {
            let file = File::create(cached.join(name)).unwrap();
            file.set_modified(std::time::SystemTime::now() - Duration::from_hours(24 * days)).unwrap();
            cached.join(name)
        };
        let name = "own-0123456789abcdef-0123456789abcdef";
        let (stale, fresh) = (part(&format!("{name}.77.part"), 2), part(&format!("{name}.78.part"), 0));
        let others = [part("film.77.part", 2), part("own-x-y.images", 2), part(&format!("{name}.x.part"), 2)];
        let after = make("own x", &sources[0], "12");
        assert!(!before.exists() && !stale.exists());
        assert!(
            [&after, &other_set, &other_file, &fresh].into_iter().chain(&others).all(|path| path.exists())
        );

        // Another picture in a folder is a change of the same images.
        let pictures = ["1.png", "2.png"].map(|name| folder.path().join(name));
        for path in &pictures {
            fs::write(path, "").unwrap();
        }
        let start =
            |n: usize| file_name(&cache.place("own x", &pictures[..n]).unwrap().unwrap())[..21].to_owned();
        assert_eq!(start(1), start(2));
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let cache = Cache { folder: Some(file.clone()), in_memory: 5 };
        let mut collector = Collector::new(SHAPE, Kind::Bytes, &cache, Some(file.join("x.images")));
        let text = collector.push(vec![0; 6]).unwrap_err().to_string();
        assert!(text.contains("x.images") && text.contains("LERP_CACHE"), "{text}");
    }
}
