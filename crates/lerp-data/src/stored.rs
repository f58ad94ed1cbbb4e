//! Cache files of decoded images, for splits that are too large to hold in memory.
//!
//! A cache file is read image by image, so that the system's page cache decides how much of it is in memory,
//! and processes that train on the same images share it.
//!
//! A disk may corrupt what was written. Every image has a checksum that is compared whenever the image is read
//! (CRC-32C, which detects all changes within 32 consecutive bits and costs a microsecond), and the rest of the
//! file has a SHA-256 that is compared when the file is opened.

use std::{
    env, fs,
    io::{self, BufWriter, Read, Seek, Write},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use lerp_core::ImageShape;
use lerp_files::{Draft, Durability, hexadecimal, remove_leftovers};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    Error, Result,
    find::is_picture,
    labels::{Class, ClassLabels},
    pixels::{CachedPixels, HEADER, PixelEncoding, Pixels, StoredImages, read_at},
    tree::{LeftOut, file_name},
};

/// The environment variable that names the folder of cache files.
pub const CACHE_VARIABLE: &str = "LERP_CACHE";

/// Number of bytes up to which the pixels of one split are stored in memory by each process: MNIST's, but not the
/// 154 MB of CIFAR-10, which open six times as fast from a cache file and whose batches of 64 then take some 50
/// µs longer.
const IN_MEMORY: usize = 64 << 20;

/// Number of hexadecimal digits of each of the two digests in a cache file's name.
const DIGITS: usize = 16;
/// The age from which an unfinished file is taken for abandoned where locks cannot tell: decoding takes less
/// time.
const STALE: Duration = Duration::from_hours(24);

/// The first bytes of a cache file; the digit is the version of the format.
const MAGIC: &[u8; 8] = b"lerpimg2";

/// The folder of cache files, and the size from which images are stored there.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    pub folder: Option<PathBuf>,
    pub in_memory: usize,
}

impl Cache {
    /// The cache in the folder that `LERP_CACHE` names, or in `lerpbench` in the user's folder of caches. If
    /// there is neither, all images are stored in memory.
    pub fn of_user() -> Self {
        let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let of_system = || {
            let home = || variable("HOME").map(|home| home.join(".cache"));
            let folder = variable("XDG_CACHE_HOME").or_else(|| variable("LOCALAPPDATA")).or_else(home);
            folder.map(|folder| folder.join("lerpbench"))
        };
        Self { folder: variable(CACHE_VARIABLE).or_else(of_system), in_memory: IN_MEMORY }
    }

    /// The path of the cache file for the images in `paths`, read as `how` says, or `None` if there is no cache
    /// folder. The name is `<dataset>-<digest of the paths>-<digest of the state>`. The state has sizes and
    /// times of modification, so a changed file has another cache file whose name begins like that of the old
    /// one. Of image files the first digest has only the folders, so that an added image changes the state
    /// alone.
    ///
    /// # Errors
    /// Returns an error if the metadata of one of `paths` cannot be read.
    pub fn cache_file(&self, how: &str, paths: &[PathBuf]) -> Result<Option<PathBuf>> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let (mut folders, mut state) = (Sha256::new(), Sha256::new());
        state.update(how);
        let mut last = PathBuf::new();
        for path in paths {
            let bad = |problem| Error::Io { file: path.clone(), problem };
            let data = fs::metadata(path).map_err(bad)?;
            let changed = data.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            let path = path.canonicalize().map_err(bad)?;
            state.update(format!("\n{} {} {:?}", path.display(), data.len(), changed));
            let folder = path.parent().filter(|_| is_picture(&path)).unwrap_or(&path);
            if folder != last {
                folders.update(format!("\n{}", folder.display()));
                last = folder.into();
            }
        }
        let plain: String = how.chars().take_while(char::is_ascii_alphanumeric).collect();
        let [folders, state] =
            [folders, state].map(|digest| hexadecimal(digest.finalize())[..DIGITS].to_owned());
        Ok(Some(folder.join(format!("{plain}-{folders}-{state}.images"))))
    }
}

/// Removes the cache files that the one at `cache_file` replaces: those of the same paths in an earlier state.
fn remove_replaced(cache_file: &Path) {
    let own = file_name(cache_file);
    let same = own.rfind('-').map_or(own.as_str(), |end| &own[..=end]);
    for path in beside(cache_file) {
        let name = file_name(&path);
        if name != own && name.starts_with(same) && name.ends_with(".images") {
            let _ = fs::remove_file(&path);
        }
    }
}

fn beside(cache_file: &Path) -> Vec<PathBuf> {
    let entries = cache_file.parent().and_then(|folder| fs::read_dir(folder).ok());
    entries.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect()
}

/// Collects the images of one split in memory, and moves them to a cache file when they become too many.
#[derive(Debug)]
pub(crate) struct Collector {
    shape: ImageShape,
    encoding: PixelEncoding,
    in_memory: usize,
    cache_file: Option<PathBuf>,
    memory: Vec<u8>,
    file: Option<Spilled>,
    gray: bool,
    /// What was found that is not among the images.
    pub left_out: LeftOut,
}

/// What a cache file says of its images besides their pixels and labels.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Description {
    classes: Vec<Class>,
    left_out: LeftOut,
}

/// An unfinished cache file.
#[derive(Debug)]
struct Spilled {
    writer: BufWriter<Draft>,
    /// The CRC-32C of each image.
    sums: Vec<u32>,
}

impl Collector {
    pub fn new(
        shape: ImageShape,
        encoding: PixelEncoding,
        cache: &Cache,
        cache_file: Option<PathBuf>,
    ) -> Self {
        let gray = shape.channels == 3;
        let (memory, left_out) = (Vec::new(), LeftOut::default());
        Self { shape, encoding, in_memory: cache.in_memory, cache_file, memory, file: None, gray, left_out }
    }

    /// Adds the pixels of one or more whole images.
    ///
    /// # Errors
    /// Returns an error if the cache file cannot be written.
    pub fn push(&mut self, pixels: Vec<u8>) -> Result<()> {
        let channel = self.encoding.size();
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
        if self.memory.len() > self.in_memory && self.cache_file.is_some() {
            let memory = std::mem::take(&mut self.memory);
            self.spill(&memory)?;
        }
        Ok(())
    }

    fn spill(&mut self, pixels: &[u8]) -> Result<()> {
        let Some(cache_file) = &self.cache_file else { return Ok(()) };
        let stride = stride(self.shape, self.encoding);
        let write = |file: &mut Option<Spilled>| -> io::Result<()> {
            if file.is_none() {
                fs::create_dir_all(cache_file.parent().unwrap_or(Path::new(".")))?;
                remove_leftovers(cache_file.parent().unwrap_or(Path::new(".")), STALE);
                let writer = BufWriter::new(Draft::new(cache_file).map_err(|error| error.problem)?);
                let spilled = file.insert(Spilled { writer, sums: Vec::new() });
                spilled.writer.write_all(&[0; HEADER])?;
            }
            if let Some(spilled) = file {
                spilled.writer.write_all(pixels)?;
                spilled.sums.extend(pixels.chunks_exact(stride).map(crc32c::crc32c));
            }
            Ok(())
        };
        write(&mut self.file).map_err(|problem| Error::Cache { file: cache_file.clone(), problem })
    }

    /// Returns all images, with `labels` if they have any. A cache file is complete now and gets its name.
    ///
    /// # Errors
    /// Returns an error if the cache file cannot be written.
    pub fn finish(self, labels: Option<ClassLabels>) -> Result<StoredImages> {
        let Self { shape, encoding, cache_file, memory, file, gray, left_out, .. } = self;
        let (labels, classes) = match labels {
            Some(ClassLabels { of_images, classes }) => (Some(of_images), classes),
            None => (None, Vec::new()),
        };
        let (Some(cache_file), Some(Spilled { mut writer, sums })) = (cache_file, file) else {
            let pixels = Pixels::Memory(memory);
            return Ok(StoredImages { shape, encoding, pixels, labels, classes, gray, left_out });
        };
        let write = || -> io::Result<()> {
            let words = sums.iter().chain(labels.iter().flatten());
            let mut end: Vec<u8> = words.flat_map(|word| word.to_le_bytes()).collect();
            end.extend(serde_json::to_vec(&Description { classes, left_out })?);
            let (images, labelled, end_size) = (sums.len(), labels.is_some(), end.len());
            let header = Header { shape, encoding, images, labelled, gray, end_size }.bytes();
            writer.write_all(&end)?;
            writer.write_all(&digest(&header, &end))?;
            // The buffer is flushed before a seek, so nothing of it is written to the wrong place.
            writer.rewind()?;
            writer.write_all(&header)?;
            let draft = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
            draft.commit(Durability::Synced).map_err(|error| error.problem)?;
            remove_replaced(&cache_file);
            Ok(())
        };
        write().map_err(|problem| Error::Cache { file: cache_file.clone(), problem })?;
        match open(&cache_file, shape, encoding)? {
            Some(stored) => Ok(stored),
            None => Err(Error::Cache { file: cache_file, problem: io::ErrorKind::InvalidData.into() }),
        }
    }
}

/// Size of one image in bytes.
fn stride(shape: ImageShape, encoding: PixelEncoding) -> usize {
    shape.height * shape.width * shape.channels * encoding.size()
}

/// The header of a cache file.
struct Header {
    shape: ImageShape,
    encoding: PixelEncoding,
    /// Number of images.
    images: usize,
    labelled: bool,
    gray: bool,
    /// Number of bytes between the pixels and the digest that ends the file.
    end_size: usize,
}

impl Header {
    fn bytes(&self) -> [u8; HEADER] {
        let Self { shape: ImageShape { height, width, channels }, images, end_size, .. } = *self;
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(MAGIC);
        for (i, size) in [height, width, channels, images, end_size].into_iter().enumerate() {
            bytes[8 + 8 * i..16 + 8 * i].copy_from_slice(&(size as u64).to_le_bytes());
        }
        bytes[48] = self.encoding.size() as u8;
        bytes[49] = u8::from(self.labelled);
        bytes[50] = u8::from(self.gray);
        bytes
    }

    /// The header of a file of images of this shape and encoding that begins with `bytes`. The caller must compare
    /// [`Self::bytes`] with `bytes`: they differ if the file has another shape, encoding or version.
    fn parse(bytes: &[u8; HEADER], shape: ImageShape, encoding: PixelEncoding) -> Self {
        let size = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(word) as usize
        };
        let (images, end_size) = (size(32), size(40));
        Self { shape, encoding, images, labelled: bytes[49] == 1, gray: bytes[50] == 1, end_size }
    }
}

fn digest(header: &[u8], end: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(header).chain_update(end).finalize().into()
}

/// Opens the cache file at `cache_file`. Returns `None` if there is none, or it is incomplete or of another format,
/// so that it has to be made again.
///
/// # Errors
/// Returns an error if the file exists and cannot be read.
pub(crate) fn open(
    cache_file: &Path,
    shape: ImageShape,
    encoding: PixelEncoding,
) -> Result<Option<StoredImages>> {
    let bad = |problem| Error::Io { file: cache_file.into(), problem };
    let mut file = match lerp_files::open(cache_file) {
        // The path is not a plain file, for example a link, which the new cache file will replace.
        Err(error) if error.is_not_found() || error.problem.kind() == io::ErrorKind::InvalidInput => {
            return Ok(None);
        }
        file => file.map_err(|error| bad(error.problem))?,
    };
    let length = file.metadata().map_err(bad)?.len() as usize;
    let mut start = [0; HEADER];
    if length < HEADER || file.read_exact(&mut start).is_err() {
        return Ok(None);
    }
    let header = Header::parse(&start, shape, encoding);
    let Header { images, labelled, gray, end_size, .. } = header;
    let (stride, words) = (stride(shape, encoding), images.saturating_mul(if labelled { 2 } else { 1 }));
    let pixels = images.saturating_mul(stride);
    let whole = [HEADER, pixels, end_size, 32].iter().try_fold(0, |sum: usize, n| sum.checked_add(*n));
    if start != header.bytes() || whole != Some(length) || end_size / 4 < words {
        return Ok(None);
    }
    let mut end = vec![0; end_size + 32];
    read_at(&file, &mut end, (HEADER + pixels) as u64).map_err(bad)?;
    let sum = end.split_off(end_size);
    if sum != digest(&start, &end) {
        return Ok(None);
    }
    let Ok(Description { classes, left_out }) = serde_json::from_slice(&end[4 * words..]) else {
        return Ok(None);
    };
    let mut sums: Vec<u32> =
        end[..4 * words].as_chunks::<4>().0.iter().map(|&word| u32::from_le_bytes(word)).collect();
    let labels = labelled.then(|| sums.split_off(images));
    let pixels = Pixels::File(CachedPixels { path: cache_file.into(), file, stride, sums });
    Ok(Some(StoredImages { shape, encoding, pixels, labels, classes, gray, left_out }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{images::Images, labels::Label};

    const SHAPE: ImageShape = ImageShape { height: 2, width: 1, channels: 3 };

    fn collect(cache: &Cache, cache_file: Option<PathBuf>) -> Images {
        let mut collector = Collector::new(SHAPE, PixelEncoding::Bytes, cache, cache_file);
        for i in 0..10_u8 {
            collector.push(vec![i; 6]).unwrap();
        }
        collector.left_out.add("picture", "too large", "x.png");
        let class = Class { label: Label::Number(3), name: "three".into() };
        let labels = ClassLabels { of_images: (0..10).collect(), classes: vec![class] };
        Images::new(collector.finish(Some(labels)).unwrap())
    }

    #[test]
    fn images_are_the_same_in_memory_and_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache { folder: Some(folder.path().join("new")), in_memory: 20 };
        let source = folder.path().join("source");
        fs::write(&source, "1").unwrap();
        let paths = [source.clone()];
        let cache_file = cache.cache_file("mine", &paths).unwrap().unwrap();
        let (in_file, in_memory) = (collect(&cache, Some(cache_file.clone())), collect(&cache, None));
        assert!(cache_file.exists());
        assert_eq!(
            fs::read_dir(folder.path().join("new")).unwrap().count(),
            1,
            "nothing half-written is left"
        );
        let stored = open(&cache_file, SHAPE, PixelEncoding::Bytes).unwrap().unwrap();
        assert_eq!((stored.classes[0].name.as_str(), stored.left_out.lines().len()), ("three", 1));
        let again = Images::new(stored);
        for images in [&in_file, &again] {
            assert_eq!(images.len(), 10);
            assert!(images.labels().eq(in_memory.labels()));
            assert!((0..10).all(|i| images.image(i).unwrap() == in_memory.image(i).unwrap()));
        }
        assert_eq!(Images::gray_if_gray([again.clone(), again])[0].shape.channels, 1);

        // A cache file that is truncated or of another format is made again.
        assert!(open(&cache_file, SHAPE, PixelEncoding::Fixed).unwrap().is_none());
        let bytes = fs::read(&cache_file).unwrap();
        for length in [0, 30, HEADER, bytes.len() - 1] {
            fs::write(&cache_file, &bytes[..length]).unwrap();
            assert!(open(&cache_file, SHAPE, PixelEncoding::Bytes).unwrap().is_none(), "cut to {length}");
        }
        fs::write(&source, "12").unwrap();
        assert_ne!(cache.cache_file("mine", &paths).unwrap().unwrap(), cache_file, "the source has changed");
        assert!(cache.cache_file("mine", &[folder.path().join("absent")]).is_err());
    }

    #[test]
    fn what_a_new_file_replaces_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let cached = folder.path().join("cache");
        let cache = Cache { folder: Some(cached.clone()), in_memory: 20 };
        let sources = ["a", "b"].map(|name| folder.path().join(name));
        let make = |how: &str, path: &PathBuf, text: &str| {
            fs::write(path, text).unwrap();
            let cache_file = cache.cache_file(how, std::slice::from_ref(path)).unwrap().unwrap();
            collect(&cache, Some(cache_file.clone()));
            cache_file
        };
        let (other_set, other_file) = (make("cifar10", &sources[0], "1"), make("own x", &sources[1], "1"));
        let before = make("own x", &sources[0], "1");
        let killed = cached.join(".lerp-0123456789abcdef.tmp");
        fs::write(&killed, "begun").unwrap();
        let others = ["film.77.part", "own-x-y.images"].map(|name| cached.join(name));
        for other in &others {
            fs::write(other, "").unwrap();
            // Another program's file stays however old it is, since the folder may be a shared one.
            let file = fs::File::options().write(true).open(other).unwrap();
            file.set_modified(std::time::SystemTime::now() - 2 * STALE).unwrap();
        }
        let after = make("own x", &sources[0], "12");
        assert!(!before.exists() && !killed.exists());
        let stay = [&after, &other_set, &other_file];
        assert!(stay.into_iter().chain(&others).all(|path| path.exists()));

        // An additional image in a folder is a change of the same dataset.
        let pictures = ["1.png", "2.png"].map(|name| folder.path().join(name));
        for path in &pictures {
            fs::write(path, "").unwrap();
        }
        let start = |n: usize| {
            file_name(&cache.cache_file("own x", &pictures[..n]).unwrap().unwrap())[..21].to_owned()
        };
        assert_eq!(start(1), start(2));
    }

    #[test]
    fn no_flipped_bit_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache { folder: Some(folder.path().into()), in_memory: 20 };
        let cache_file = folder.path().join("own-1-2.images");
        collect(&cache, Some(cache_file.clone()));
        let good = fs::read(&cache_file).unwrap();
        let (mut remade, mut refused) = (0, 0);
        for byte in 0..good.len() {
            for bit in [0, 3, 7] {
                let mut bytes = good.clone();
                bytes[byte] ^= 1 << bit;
                fs::write(&cache_file, &bytes).unwrap();
                let Some(stored) = open(&cache_file, SHAPE, PixelEncoding::Bytes).unwrap() else {
                    remade += 1;
                    continue;
                };
                let images = Images::new(stored);
                let first = (0..10).find_map(|index| images.image(index).err()).unwrap();
                let text = first.to_string();
                assert!(text.contains("was damaged") && text.contains("own-1-2.images"), "{text}");
                assert!(!cache_file.exists(), "so that the next one makes it anew");
                refused += 1;
            }
        }
        assert_eq!((remade, refused), (3 * (good.len() - 60), 3 * 60), "60 bytes are pixels");
    }

    #[test]
    fn a_link_at_the_path_of_a_cache_file_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache { folder: Some(folder.path().into()), in_memory: 20 };
        let (target, cache_file) = (folder.path().join("precious"), folder.path().join("own-1-2.images"));
        fs::write(&target, "precious").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(&target, &cache_file).unwrap();
        collect(&cache, Some(cache_file));
        assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let cache = Cache { folder: Some(file.clone()), in_memory: 5 };
        let mut collector = Collector::new(SHAPE, PixelEncoding::Bytes, &cache, Some(file.join("x.images")));
        let text = collector.push(vec![0; 6]).unwrap_err().to_string();
        assert!(text.contains("x.images") && text.contains("LERP_CACHE"), "{text}");
    }
}
