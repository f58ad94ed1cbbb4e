//! Tests of the page in a browser. They are skipped where no Chromium is installed.

#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod browser;

use std::{
    fs,
    path::{Path, PathBuf},
};

use browser::Browser;
use lerp_report::{ReportOptions, report};
use serde_json::{Value, json};

/// Copies a published sweep and writes its report anew. Returns the folder and the page.
fn page_of(name: &str) -> (tempfile::TempDir, PathBuf) {
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../results/reference").join(name);
    let dir = tempfile::tempdir().unwrap();
    let sweep = dir.path().join(name);
    copy(&published, &sweep);
    report(&sweep, &ReportOptions::default()).unwrap();
    let page = sweep.join("index.html");
    (dir, page)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Starts a browser. If none is installed, the test is skipped and the result is `None`.
fn browser() -> Option<Browser> {
    let program = browser::find();
    if program.is_none() {
        lerp_test::skip("chromium", "there is no Chromium in PATH; install one, or name it in LERP_BROWSER");
    }
    program.map(|program| Browser::start(&program))
}

/// The texts of a column of Table 1.
fn texts(browser: &mut Browser, column: usize) -> Vec<String> {
    let cells = format!(
        "[...document.querySelector('#table1 table').tBodies[0].rows].map((r) => r.cells[{column}].textContent)"
    );
    serde_json::from_value(browser.value(&cells)).unwrap()
}

/// The mean distances in Table 1, in the order shown.
fn numbers(browser: &mut Browser) -> Vec<f64> {
    texts(browser, 1).iter().map(|text| text.split(' ').next().unwrap().parse().unwrap()).collect()
}

/// Sets the size of the browser's window, in pixels.
fn size(browser: &mut Browser, width: u32, height: u32) {
    let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
    browser.ask("Emulation.setDeviceMetricsOverride", &metrics);
}

#[test]
fn tables_sort_and_alpha_moves_the_images() {
    let Some(mut browser) = browser() else { return };
    let (_dir, page) = page_of("quick");
    size(&mut browser, 1300, 900);
    browser.open(&page);

    // Clicks on a heading sort in ascending order, then in descending order, and then restore the order.
    let before = numbers(&mut browser);
    let mut up = before.clone();
    up.sort_by(f64::total_cmp);
    assert_ne!(before, up, "sorting must change something");
    let heading = "#table1 th:nth-child(2) button";
    browser.click(heading);
    assert_eq!(numbers(&mut browser), up);
    assert_eq!(browser.value("document.querySelector('#table1 th:nth-child(2)').ariaSort"), "ascending");
    browser.click(heading);
    up.reverse();
    assert_eq!(numbers(&mut browser), up);
    browser.click(heading);
    assert_eq!(numbers(&mut browser), before);
    // Sorting also works from the keyboard.
    browser.value(&format!("document.querySelector({heading:?}).focus()"));
    browser.key("Enter", 13, "\r");
    up.reverse();
    assert_eq!(numbers(&mut browser), up);

    // Dragging α changes the decoded image and the text below it.
    let tile = ".tile:nth-child(2)";
    let words = |b: &mut Browser| b.value("document.querySelector('.tile:nth-child(2)').innerText");
    let (was, said) = (browser.look(&format!("{tile} .image")), words(&mut browser));
    let [x, y, width, height] = browser.bounds("#alpha");
    let at = |part: f64| (x + width * part, y + height / 2.0);
    browser.mouse("mousePressed", at(0.47), true);
    browser.mouse("mouseMoved", at(0.7), true);
    browser.mouse("mouseMoved", at(0.99), true);
    browser.mouse("mouseReleased", at(0.99), false);
    assert_eq!(browser.value("document.getElementById('alpha').value"), "15");
    assert_eq!(browser.value("document.getElementById('shown').textContent"), "1.00");
    assert_ne!(browser.look(&format!("{tile} .image")), was, "the image at α = 1 is another");
    assert_ne!(words(&mut browser), said);
    // The arrow keys also move α.
    browser.value("document.getElementById('alpha').focus()");
    browser.key("ArrowLeft", 37, "");
    assert_eq!(browser.value("document.getElementById('alpha').value"), "14");

    // A deselected variant disappears.
    let tiles = "document.querySelectorAll('.tile').length";
    let all = browser.value(tiles).as_u64().unwrap();
    assert_eq!(all, 8, "the seven and the true line");
    browser.click("#chips label:nth-child(1)");
    assert_eq!(browser.value(tiles), all - 1);
    // Another pair has another true line.
    let truth = browser.look(".tile:nth-child(1) .image");
    let pairs = browser.value("document.getElementById('pair').options.length").as_u64().unwrap();
    if pairs > 1 {
        browser.value("(() => { const p = document.getElementById('pair'); p.value = '1'; p.dispatchEvent(new Event('change')); })()");
        assert_ne!(browser.look(".tile:nth-child(1) .image"), truth);
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn every_run_has_a_page_of_its_own() {
    let Some(mut browser) = browser() else { return };
    let (_dir, page) = page_of("quick");
    size(&mut browser, 1300, 900);
    browser.open(&page);
    browser.click("#runs tbody a");
    let shown = browser.value(
        "[...document.querySelectorAll('main > *, article.run')].filter((e) => e.offsetParent).map((e) => e.id)",
    );
    let shown: Vec<String> = serde_json::from_value(shown).unwrap();
    assert!(shown.len() == 2 && shown[0] == "run-pages" && shown[1].starts_with("run-lines-"), "{shown:?}");
    let text = browser.value("document.querySelector('article.run:target').innerText");
    let text = text.as_str().unwrap();
    for word in ["learning rate", "revision", "command", "mean distance"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    browser.click("article.run:target a");
    assert!(browser.value("!!document.getElementById('table1').offsetParent").as_bool().unwrap());
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn the_page_fits_a_phone_dark_mode_and_print() {
    let Some(mut browser) = browser() else { return };
    let (_dir, page) = page_of("quick");
    size(&mut browser, 390, 844);
    browser.open(&page);
    let wide = browser.value("document.documentElement.scrollWidth").as_u64().unwrap();
    assert!(
        wide <= 390,
        "nothing but tables and figures, in their own frames, is wider than a phone: {wide}"
    );

    let ground = |b: &mut Browser| -> Value { b.value("getComputedStyle(document.body).backgroundColor") };
    assert_eq!(ground(&mut browser), "rgb(255, 255, 255)");
    let dark = json!({ "features": [{ "name": "prefers-color-scheme", "value": "dark" }] });
    browser.ask("Emulation.setEmulatedMedia", &dark);
    assert_eq!(ground(&mut browser), "rgb(22, 22, 22)");

    let paper =
        json!({ "media": "print", "features": [{ "name": "prefers-color-scheme", "value": "dark" }] });
    browser.ask("Emulation.setEmulatedMedia", &paper);
    assert_eq!(ground(&mut browser), "rgb(255, 255, 255)");
    assert_eq!(browser.value("document.querySelector('nav').offsetParent"), Value::Null);
    let pdf = browser.ask("Page.printToPDF", &json!({}));
    assert!(pdf["data"].as_str().unwrap().len() > 10_000);

    let took = browser
        .value("(() => { const t = performance.timing; return t.loadEventEnd - t.navigationStart; })()");
    let took = took.as_u64().unwrap();
    assert!(took < 10_000, "{took} ms to load; under 1,000 on an idle machine");
    let bytes = fs::metadata(&page).unwrap().len();
    assert!(bytes < 15_000_000, "{bytes} bytes");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
