//! A headless Chromium, controlled by its remote-debugging protocol over a pair of pipes.

use std::{
    env,
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

/// The program names under which Chromium may be installed.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// The time after which the browser is killed, in case it hangs.
const PATIENCE: Duration = Duration::from_mins(3);

/// Returns the program named by `LERP_BROWSER`, or else the first one installed.
pub fn find() -> Option<PathBuf> {
    if let Some(path) = env::var_os("LERP_BROWSER") {
        return Some(path.into());
    }
    let folders: Vec<PathBuf> = env::split_paths(&env::var_os("PATH")?).collect();
    let mut all = NAMES.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    all.find(|path| path.is_file())
}

/// A running browser with one page.
pub struct Browser {
    child: Arc<Mutex<Child>>,
    to: File,
    from: BufReader<File>,
    session: Option<String>,
    sent: u64,
    /// All events that the browser has sent.
    pub events: Vec<Value>,
    _dir: tempfile::TempDir,
}

impl Browser {
    /// Starts the browser.
    pub fn start(program: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [to, from, profile] = ["to", "from", "profile"].map(|name| dir.path().join(name));
        assert!(Command::new("mkfifo").args([&to, &from]).status().unwrap().success());
        // A shell starts the browser, because it can open files under given descriptor numbers.
        let script = "exec \"$0\" --headless --no-sandbox --disable-gpu --no-first-run --hide-scrollbars \
                      --disable-dev-shm-usage --disable-background-networking --disable-component-update --disable-sync \
                      --force-device-scale-factor=1 --remote-debugging-pipe --user-data-dir=\"$3\" \
                      3<\"$1\" 4>\"$2\"";
        let child = Command::new("sh")
            .arg("-c")
            .arg(script)
            .args([program, &to, &from, &profile])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let child = Arc::new(Mutex::new(child));
        let watched = Arc::downgrade(&child);
        thread::spawn(move || {
            thread::sleep(PATIENCE);
            if let Some(child) = watched.upgrade() {
                let _ = child.lock().unwrap().kill();
            }
        });
        let to = OpenOptions::new().write(true).open(&to).unwrap();
        let from = BufReader::new(File::open(&from).unwrap());
        let mut browser = Self { child, to, from, session: None, sent: 0, events: Vec::new(), _dir: dir };
        let target = browser.ask("Target.createTarget", &json!({ "url": "about:blank" }));
        let target = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.ask("Target.attachToTarget", &target);
        browser.session = Some(session["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.ask(&format!("{domain}.enable"), &json!({}));
        }
        browser
    }

    /// Sends a command and waits for its answer.
    pub fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.sent += 1;
        let mut message = json!({ "id": self.sent, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = session.clone().into();
        }
        self.to.write_all(message.to_string().as_bytes()).unwrap();
        self.to.write_all(&[0]).unwrap();
        loop {
            let answer = self.receive();
            if answer["id"] == self.sent {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    fn receive(&mut self) -> Value {
        let mut bytes = Vec::new();
        self.from.read_until(0, &mut bytes).unwrap();
        assert_eq!(bytes.pop(), Some(0), "the browser ended");
        let message: Value = serde_json::from_slice(&bytes).unwrap();
        if message.get("id").is_none() {
            self.events.push(message.clone());
        }
        message
    }

    /// Opens a file and waits until it is loaded.
    pub fn open(&mut self, page: &Path) {
        let before = self.events.len();
        self.ask("Page.navigate", &json!({ "url": format!("file://{}", page.display()) }));
        while !self.events[before..].iter().any(|event| event["method"] == "Page.loadEventFired") {
            self.receive();
        }
    }

    /// Evaluates a JavaScript expression in the page.
    pub fn value(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.ask("Runtime.evaluate", &asked);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Scrolls the first element that matches into view, and returns its left, top, width and height in pixels.
    pub fn bounds(&mut self, selector: &str) -> [f64; 4] {
        let bounds = self.value(&format!(
            "(() => {{ const e = document.querySelector({selector:?}); e.scrollIntoView({{ block: 'center' }}); \
             const r = e.getBoundingClientRect(); return [r.left, r.top, r.width, r.height]; }})()"
        ));
        serde_json::from_value(bounds).unwrap()
    }

    /// Sends a mouse event; `held` says whether the left button is down.
    pub fn mouse(&mut self, kind: &str, (x, y): (f64, f64), held: bool) {
        let (button, buttons) =
            if kind == "mouseMoved" && !held { ("none", 0) } else { ("left", u8::from(held)) };
        let event =
            json!({ "type": kind, "x": x, "y": y, "button": button, "buttons": buttons, "clickCount": 1 });
        self.ask("Input.dispatchMouseEvent", &event);
    }

    /// Clicks the middle of an element.
    pub fn click(&mut self, selector: &str) {
        let [x, y, width, height] = self.bounds(selector);
        let middle = (x + width / 2.0, y + height / 2.0);
        self.mouse("mouseMoved", middle, false);
        self.mouse("mousePressed", middle, true);
        self.mouse("mouseReleased", middle, false);
    }

    /// Presses and releases a key that enters `text`.
    pub fn key(&mut self, key: &str, code: u32, text: &str) {
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            let event =
                json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text });
            self.ask("Input.dispatchKeyEvent", &event);
        }
    }

    /// Takes a screenshot of an element, as a PNG in base64.
    pub fn look(&mut self, selector: &str) -> String {
        self.bounds(selector);
        // The clip is relative to the page, not to the window.
        let clip = self.value(&format!(
            "(() => {{ const r = document.querySelector({selector:?}).getBoundingClientRect(); return {{ x: r.left + \
             scrollX, y: r.top + scrollY, width: r.width, height: r.height, scale: 1 }}; }})()"
        ));
        self.ask("Page.captureScreenshot", &json!({ "clip": clip }))["data"].as_str().unwrap().to_owned()
    }

    /// Returns the page's errors and warnings, and the requests that it made beyond its own file.
    pub fn complaints(&self) -> Vec<String> {
        let complaint = |event: &Value| {
            let params = &event["params"];
            match event["method"].as_str()? {
                "Runtime.exceptionThrown" => Some(params.to_string()),
                "Runtime.consoleAPICalled" if ["error", "warning"].contains(&params["type"].as_str()?) => {
                    Some(params.to_string())
                }
                "Log.entryAdded" if ["error", "warning"].contains(&params["entry"]["level"].as_str()?) => {
                    Some(params.to_string())
                }
                "Network.requestWillBeSent" => {
                    let url = params["request"]["url"].as_str()?;
                    let own =
                        url.starts_with("data:") || params["type"] == "Document" && url.starts_with("file:");
                    (!own).then(|| format!("a request to {url}"))
                }
                _ => None,
            }
        };
        self.events.iter().filter_map(complaint).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }
}
