//! Downloads from a local server that answers like the hub: downloaded files are complete and in the place
//! where all clients of the hub look; errors are one sentence, and leave no file under its final name.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::common::{Parquet, png};
use crate::server::{self, Fault, REVISION, TEST, TRAIN, files_below, id, sha256};
use lerp_data::{
    Dataset, HubCache, ImageSet, Split,
    hub::{Event, Fetched, Hub, HubError},
    image_set_with_cache,
};

/// Opens MNIST from `cache`. The given folder of datasets has none, and replaces the one that the environment
/// may name.
fn mnist(cache: &HubCache) -> lerp_data::Result<ImageSet> {
    image_set_with_cache("mnist", Some(Path::new(env!("CARGO_MANIFEST_DIR"))), cache)
}

/// The repository's files: MNIST with 300 training and 3 test images, and two files that are not read. The
/// training file is larger than the buffers of a connection.
fn files() -> Vec<(&'static str, Vec<u8>)> {
    let noise = |seed: usize| -> Vec<u8> { (0..28 * 28).map(|i| (i * i * 7 + seed * i) as u8).collect() };
    let image = |seed| png(28, 28, &noise(seed).iter().flat_map(|&gray| [gray; 3]).collect::<Vec<_>>());
    let file = |n: usize| {
        let images: Vec<_> = (0..n).map(image).collect();
        let labels: Vec<i64> = (0..n as i64).map(|i| i % 10).collect();
        Parquet { group: 50, ..Parquet::default() }.file("image", &images, Some(&labels))
    };
    vec![
        (TRAIN, file(300)),
        (TEST, file(3)),
        ("full/train-00000-of-00001.parquet", vec![1; 9]),
        ("mnist/notes.txt", vec![2; 9]),
    ]
}

struct Setting {
    _keep: tempfile::TempDir,
    folder: PathBuf,
    server: server::Hub,
    hub: Hub,
    events: Vec<String>,
}

impl Setting {
    fn new(fault: Fault) -> Self {
        let keep = tempfile::tempdir().unwrap();
        let folder = keep.path().join("hub");
        let server = server::Hub::start(fault, &files());
        let hub = Hub {
            endpoint: server.endpoint.clone(),
            cache: HubCache::at(&folder),
            token: None,
            offline: false,
            pause: Duration::from_millis(1),
        };
        Self { _keep: keep, folder, server, hub, events: Vec::new() }
    }

    fn fetch(&mut self) -> Result<Fetched, HubError> {
        let events = &mut self.events;
        self.hub.fetch("mnist", &mut |event| {
            if !matches!(event, Event::Bytes { .. }) {
                events.push(format!("{event:?}"));
            }
        })
    }

    fn fault(&mut self) -> String {
        let text = self.fetch().unwrap_err().to_string();
        assert!(!text.contains('\n') && text.len() < 600, "one sentence: {text}");
        text
    }

    fn repository(&self) -> PathBuf {
        self.folder.join("datasets--ylecun--mnist")
    }

    fn pointer(&self, path: &str) -> PathBuf {
        self.repository().join("snapshots").join(REVISION).join(path)
    }

    /// Asserts that all files are complete, and in the layout of the hub's clients.
    fn assert_whole(&self) {
        let files = files();
        for (path, bytes) in &files[..2] {
            assert_eq!(&fs::read(self.pointer(path)).unwrap(), bytes, "{path}");
            #[cfg(unix)]
            {
                let target = fs::read_link(self.pointer(path)).unwrap();
                assert_eq!(target, PathBuf::from(format!("../../../blobs/{}", sha256(bytes))));
            }
        }
        let mut wanted: Vec<String> = [TRAIN, TEST].map(|path| format!("snapshots/{REVISION}/{path}")).into();
        #[cfg(unix)]
        wanted.extend(files[..2].iter().map(|(_, bytes)| format!("blobs/{}", sha256(bytes))));
        wanted.sort();
        assert_eq!(files_below(&self.repository()), wanted);

        let set = mnist(&self.hub.cache).unwrap();
        assert_eq!((set.count(Split::Test).unwrap(), set.classes()), (Some(3), 10));
        let source = set.hub().unwrap();
        assert_eq!((source.repository, source.revision), ("ylecun/mnist", REVISION));
        assert_eq!(set.folder(), self.pointer("mnist"));
    }

    /// Asserts that the repository has only the files `left`, and that the image set cannot be opened.
    fn assert_nothing_final(&self, left: &[String]) {
        assert_eq!(files_below(&self.repository()), left);
        assert!(mnist(&self.hub.cache).is_err());
    }
}

/// The id of the training file in the hub's list.
fn train_id() -> String {
    let bytes = &files()[0].1;
    id(&sha256(bytes), bytes.len())
}

/// The path of the training file while it is downloaded.
fn partial() -> String {
    format!("blobs/{}.incomplete", train_id())
}

#[test]
fn what_is_fetched_is_whole_and_found_and_not_fetched_again() {
    let mut setting = Setting::new(Fault::Nothing);
    setting.hub.token = Some("secret".into());
    let fetched = setting.fetch().unwrap();
    assert_eq!((fetched.files, &fetched.folder), (2, &setting.pointer("mnist")));
    setting.assert_whole();
    let bytes: usize = files()[..2].iter().map(|(_, bytes)| bytes.len()).sum();
    assert_eq!(setting.events[0], format!("Start {{ files: 2, bytes: {bytes} }}"));
    let (ours, others) = (setting.server.tokens("/resolve/"), setting.server.tokens("/storage/"));
    assert!(
        !ours.is_empty() && ours.iter().all(|token| token.as_deref() == Some("Bearer secret")),
        "{ours:?}"
    );
    assert!(
        !others.is_empty() && others.iter().all(Option::is_none),
        "the token is for the hub only: {others:?}"
    );

    let asked = setting.server.asked("/").len();
    assert_eq!(setting.fetch().unwrap().files, 0);
    assert_eq!(setting.server.asked("/").len(), asked, "what is here costs no request");

    // One of two files is removed; the other one is not requested again.
    fs::remove_file(setting.pointer(TEST)).unwrap();
    let text = mnist(&setting.hub.cache).err().unwrap().to_string();
    assert!(text.contains(" lacks test-*.parquet: `cargo xtask data fetch mnist` downloads it"), "{text}");
    assert_eq!(setting.fetch().unwrap().files, 1);
    assert_eq!(setting.server.asked(&format!("/storage/{TRAIN}")).len(), 1);
    setting.assert_whole();

    // A blob that another client has downloaded, perhaps under another commit, is not requested either.
    fs::remove_file(setting.pointer(TRAIN)).unwrap();
    #[cfg(unix)]
    {
        assert_eq!(setting.fetch().unwrap().files, 1);
        assert_eq!(setting.server.asked(&format!("/storage/{TRAIN}")).len(), 1);
    }
}

#[test]
fn progress_grows_to_the_end() {
    let mut setting = Setting::new(Fault::CutOnce);
    let (mut all, mut last) = (0, 0);
    let hub = setting.hub.clone();
    hub.fetch("mnist", &mut |event| match event {
        Event::Start { bytes, .. } => all = *bytes,
        Event::Bytes { done } => {
            assert!(*done >= last);
            last = *done;
        }
        _ => {}
    })
    .unwrap();
    assert!(last == all && all > 0);
    assert_eq!(setting.fetch().unwrap().files, 0);
}

#[test]
fn a_cut_connection_is_taken_up_where_it_broke() {
    let mut setting = Setting::new(Fault::CutOnce);
    setting.fetch().unwrap();
    setting.assert_whole();
    let half = files()[0].1.len() / 2;
    let rest = format!("bytes={half}-{}", files()[0].1.len() - 1);
    assert_eq!(setting.server.asked(&format!("/storage/{TRAIN}")), [None, Some(rest)]);
    assert_eq!(setting.events.iter().filter(|event| event.starts_with("Again")).count(), 1);
}

#[test]
fn what_came_before_a_lasting_cut_is_kept_for_the_next_call() {
    let mut setting = Setting::new(Fault::CutAlways);
    let half = files()[0].1.len() / 2;
    let text = setting.fault();
    let said = format!("the download of {TRAIN} broke off at {half} of {} bytes (", files()[0].1.len());
    assert!(text.starts_with(&said) && text.ends_with("the same command goes on from there"), "{text}");
    let partial = partial();
    // Files are downloaded in the order of their names, so the test split is complete.
    let left = |setting: &Setting| {
        let mut left = files_below(&setting.repository());
        left.retain(|name| !name.contains(&sha256(&files()[1].1)) && !name.contains(TEST));
        left
    };
    assert_eq!(left(&setting), [partial.as_str()]);
    assert_eq!(fs::metadata(setting.repository().join(&partial)).unwrap().len() as usize, half);
    assert!(mnist(&setting.hub.cache).is_err());

    setting.server.fault(Fault::Nothing);
    setting.fetch().unwrap();
    setting.assert_whole();
    let asked = setting.server.asked(&format!("/storage/{TRAIN}"));
    assert_eq!(asked.last().unwrap(), &Some(format!("bytes={half}-{}", files()[0].1.len() - 1)));
}

#[test]
fn a_server_without_ranges_sends_all_of_it_again() {
    let mut setting = Setting::new(Fault::NoRanges);
    setting.fetch().unwrap();
    setting.assert_whole();
    // The three requests are the first one, that for the second half (to which the server answered with the
    // whole file), and that for the whole file.
    assert_eq!(setting.server.asked(&format!("/storage/{TRAIN}")).len(), 3);
}

#[test]
fn a_busy_server_is_asked_again() {
    let mut setting = Setting::new(Fault::Busy);
    setting.fetch().unwrap();
    setting.assert_whole();
    assert!(setting.events.iter().any(|event| event.contains("status 503")), "{:?}", setting.events);
}

#[test]
fn wrong_bytes_are_removed() {
    let mut setting = Setting::new(Fault::WrongBytes);
    let text = setting.fault();
    let said = format!("{TRAIN} came with SHA-256 ");
    let wanted = format!(", which is not what {} stands for in the hub's list, and was removed", train_id());
    assert!(text.starts_with(&said) && text.contains(&wanted), "{text}");
    assert!(!files_below(&setting.repository()).iter().any(|name| name.contains(&sha256(&files()[0].1))));
    assert!(!setting.pointer(TRAIN).exists());

    setting.server.fault(Fault::TooMany);
    let text = setting.fault();
    assert!(text.starts_with(&format!("{TRAIN} came with more than ")), "{text}");
    assert!(!files_below(&setting.repository()).iter().any(|name| name.contains(&sha256(&files()[0].1))));

    // Wrong bytes that an earlier call or another program left are removed as well.
    setting.server.fault(Fault::Nothing);
    fs::write(setting.repository().join(partial()), vec![7; 1000]).unwrap();
    assert!(setting.fault().contains(&wanted));
    setting.fetch().unwrap();
    setting.assert_whole();
}

#[test]
fn refusals_and_strange_lists_are_one_sentence() {
    for (fault, said) in [
        (Fault::Absent, "?recursive=true answers 404: is HF_ENDPOINT the address of a hub?"),
        (Fault::Forbidden, "?recursive=true answers 403"),
        (Fault::NoList, ": expected a list in JSON, found 'expected value"),
        (Fault::OtherList, ": expected a list of files, found '"),
        (Fault::ShortList, "expected mnist/train-*.parquet in the list, found 1 files"),
        (Fault::BadNames, "expected mnist/train-*.parquet in the list, found 0 files"),
        (
            Fault::NotStored,
            "expected mnist/test-00000-of-00001.parquet in large file storage, with its id, found",
        ),
    ] {
        let mut setting = Setting::new(fault);
        let text = setting.fault();
        assert!(text.contains(said), "{text}");
        setting.assert_nothing_final(&[]);
    }
    let setting = Setting::new(Fault::Nothing);
    let text = setting.hub.fetch("minst", &mut |_| {}).unwrap_err().to_string();
    assert_eq!(
        text,
        "there is no image set 'minst' to download (did you mean 'mnist'?); there is: mnist, svhn, cifar10, celeba"
    );
    assert!(setting.server.asked("/").is_empty());
}

#[test]
fn without_a_network_it_says_what_to_put_where() {
    let mut setting = Setting::new(Fault::Nothing);
    // No process listens at a port that has just been released.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let endpoint = std::mem::replace(&mut setting.hub.endpoint, format!("http://127.0.0.1:{port}"));
    let text = setting.fault();
    assert!(
        text.starts_with(&format!("cannot reach http://127.0.0.1:{port}/api/datasets/ylecun/mnist/")),
        "{text}"
    );
    assert!(text.contains("put into the sub-folder 'mnist'") && text.contains("train-images-idx3"), "{text}");
    setting.assert_nothing_final(&[]);
    "not an address".clone_into(&mut setting.hub.endpoint);
    assert!(setting.fault().starts_with("cannot reach not an address/api/"));

    setting.hub.endpoint = endpoint;
    setting.hub.offline = true;
    let text = setting.fault();
    assert!(text.contains(" lacks train-*.parquet, and HF_HUB_OFFLINE forbids to download it"), "{text}");
    assert!(text.contains("put into the sub-folder 'mnist'"), "{text}");
    assert!(setting.server.asked("/").is_empty());

    setting.hub.offline = false;
    setting.fetch().unwrap();
    let asked = setting.server.asked("/").len();
    setting.hub.offline = true;
    assert_eq!(setting.fetch().unwrap().files, 0);
    assert_eq!(setting.server.asked("/").len(), asked);
    setting.assert_whole();
}

#[test]
fn two_at_once_do_not_write_one_file() {
    let mut setting = Setting::new(Fault::Nothing);
    let locks = setting.folder.join(".locks/datasets--ylecun--mnist");
    fs::create_dir_all(&locks).unwrap();
    let lock = fs::File::create(locks.join(format!("{}.lock", train_id()))).unwrap();
    lock.lock().unwrap();
    let text = setting.fault();
    assert!(text.starts_with("another program is downloading train-00000-of-00001.parquet: wait"), "{text}");
    drop(lock);
    setting.fetch().unwrap();
    setting.assert_whole();
}
