//! The page in a real browser: every view, hostile names, keys, narrow screens, an action.

use serde_json::Value;

use crate::browser::Browser;
use crate::stage::{TOKEN, client, read, start, until};
use crate::support::Postgres;

const VIEWS: [&str; 10] = [
    "overview", "pools", "waits", "clients", "servers", "alerts", "advice", "history", "config",
    "actions",
];

/// What would run if a name were ever taken for markup.
/// No longer than PostgreSQL keeps of an application's name.
const HOSTILE: &str = "<img src=x onerror=\"window.pwned=1\">\"'&<script>";

#[tokio::test]
async fn every_view_works_in_a_real_browser() {
    let postgres = Postgres::start();
    let pooler = start(&postgres, 2, "");
    let http = pooler.http();
    let hostile = client(&pooler, HOSTILE).await;
    hostile.simple_query("BEGIN").await.expect("served");
    let mut browser = Browser::start();
    browser.resize(1280, 900, "light");
    browser.open(&format!("http://{http}/"));
    browser.wait("document.querySelector('#status')?.textContent === 'healthy'").await;
    browser.wait("document.querySelectorAll('.chart svg[role=img] path.line').length >= 4").await;
    for view in VIEWS {
        browser.value(&format!("location.hash = '#{view}'; 1"));
        browser
            .wait(&format!(
                "document.querySelector('nav a[aria-current=page]')?.hash === '#{view}' && \
             document.querySelector('#view').children.length > 0"
            ))
            .await;
    }
    for (view, wanted) in [
        ("waits", HOSTILE),
        ("clients", HOSTILE),
        ("servers", "active"),
        ("pools", "app/app"),
        ("config", "default_pool_size"),
        ("config", "environment HEADPOND_HTTP__TOKEN"),
        ("alerts", "HeadpondPoolExhaustion"),
        ("advice", "statement_timeout"),
    ] {
        browser.value(&format!("location.hash = '#{view}'; 1"));
        let wanted = serde_json::to_string(wanted).expect("text");
        browser
            .wait(&format!("document.querySelector('#view').textContent.includes({wanted})"))
            .await;
    }
    assert_eq!(browser.value("window.pwned ?? null"), Value::Null, "a name is never markup");
    let text = browser.value("document.documentElement.innerHTML");
    assert!(!text.as_str().expect("text").contains(TOKEN), "the token is never shown");

    // A search that finds one row and one that finds none.
    browser.value("location.hash = '#clients'; 1");
    browser.wait("document.querySelector('#search-clients') !== null").await;
    for (words, rows) in [("onerror", 1), ("nobody-like-this", 0)] {
        browser.value(&format!(
            "{{ const box = document.querySelector('#search-clients'); box.value = '{words}'; \
             box.dispatchEvent(new Event('input')); }} 1"
        ));
        browser
            .wait(&format!("document.querySelectorAll('#view tbody tr').length === {rows}"))
            .await;
    }

    // A queue shows up by itself.
    let second = client(&pooler, "second").await;
    second.simple_query("BEGIN").await.expect("served");
    let third = client(&pooler, "third").await;
    let waiting = tokio::spawn(async move { third.simple_query("SELECT 1").await.is_ok() });
    browser.value("location.hash = '#waits'; 1");
    browser.wait(
        "document.querySelector('#view').textContent.includes('every connection of the pool is')",
    ).await;
    second.simple_query("COMMIT").await.expect("it had begun");
    assert!(waiting.await.expect("no panic"));

    assert_eq!(browser.complaints, Vec::<String>::new(), "no exception, no violation");
    let own = format!("http://{http}/");
    let foreign: Vec<&String> =
        browser.requests.iter().filter(|url| !url.starts_with(&own)).collect();
    let foreign: Vec<&&String> = foreign.iter().filter(|url| !url.starts_with("about:")).collect();
    assert!(foreign.is_empty(), "nothing is fetched from elsewhere: {foreign:?}");
}

#[tokio::test]
async fn an_action_by_keyboard_needs_the_token_and_is_carried_out() {
    let postgres = Postgres::start();
    let pooler = start(&postgres, 2, "");
    let http = pooler.http();
    let first = client(&pooler, "first").await;
    first.simple_query("SELECT 1").await.expect("served");
    let mut browser = Browser::start();
    browser.resize(1280, 900, "dark");
    browser.open(&format!("http://{http}/#overview"));
    browser.wait("document.querySelector('#status')?.textContent === 'healthy'").await;
    // The first key leads to the way past the navigation.
    browser.press("Tab", 9);
    assert_eq!(browser.value("document.activeElement.className"), "skip");
    browser.value("location.hash = '#actions'; 1");
    let find =
        "[...document.querySelectorAll('#view button')].find((b) => b.textContent === 'Pause')";
    browser.wait(&format!("{find} !== undefined && !{find}.disabled")).await;
    browser.value(&format!("{find}.focus(); 1"));
    browser.press("Enter", 13);
    browser.wait("document.querySelector('dialog[open]') !== null").await;
    browser.value("document.querySelector('dialog button[type=submit]').click(); 1");
    browser.wait("document.querySelector('dialog[open] #token') !== null").await;
    browser.value(&format!(
        "document.querySelector('#token').value = '{TOKEN}'; \
         document.querySelector('dialog button[type=submit]').click(); 1"
    ));
    browser
        .wait("document.querySelector('#message')?.textContent.startsWith('Done: paused')")
        .await;
    until("everything to be paused", || {
        (read(http, "/api/v1/status").1["process"]["paused"] == true).then_some(())
    })
    .await;
    browser.wait("document.querySelector('#status').textContent === 'warning'").await;
    let find = find.replace("'Pause'", "'Resume'");
    browser.value(&format!("{find}.click(); 1"));
    until("everything to go on", || {
        (read(http, "/api/v1/status").1["process"]["paused"] == false).then_some(())
    })
    .await;
    browser
        .wait("document.querySelector('#message').textContent.startsWith('Done: resumed')")
        .await;
    assert_eq!(browser.complaints, Vec::<String>::new());
}

#[tokio::test]
async fn narrow_screens_and_both_schemes_are_readable() {
    let postgres = Postgres::start();
    let pooler = start(&postgres, 2, "");
    let client = client(&pooler, "a-rather-long-name-of-an-application").await;
    client.simple_query("SELECT 1").await.expect("served");
    let mut browser = Browser::start();
    for scheme in ["light", "dark"] {
        for width in [320, 420, 768, 1920] {
            browser.resize(width, 900, scheme);
            for view in VIEWS {
                browser.open("about:blank");
                browser.open(&format!("http://{}/#{view}", pooler.http()));
                browser.wait("(document.querySelector('#view')?.children.length ?? 0) > 0").await;
                let overflow = "document.documentElement.scrollWidth \
                    - document.documentElement.clientWidth";
                assert_eq!(browser.value(overflow), 0, "{view} at {width}");
            }
            let contrast = browser.value(CONTRAST);
            let contrast = contrast.as_f64().expect("a number");
            assert!(contrast >= 4.5, "{scheme}: text has a contrast of {contrast:.2}");
        }
    }
    let unnamed = "[...document.querySelectorAll('button, a, input, select')].filter((e) => \
        !(e.textContent.trim() || e.ariaLabel || e.labels?.length)).length";
    assert_eq!(browser.value(unnamed), 0, "whatever can be used has a name");
    assert_eq!(browser.complaints, Vec::<String>::new());
}

/// The contrast of faint text on a card, by the formula of WCAG 2.
const CONTRAST: &str = "(() => {
  const rgb = (color) => color.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const light = (color) => {
    const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = rgb(color).map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const probe = document.createElement('p');
  probe.className = 'card faint';
  document.body.append(probe);
  const style = getComputedStyle(probe);
  const [a, b] = [light(style.color), light(style.backgroundColor)].sort((x, y) => y - x);
  probe.remove();
  return (a + 0.05) / (b + 0.05);
})()";
