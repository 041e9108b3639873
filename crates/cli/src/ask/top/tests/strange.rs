//! Keys that nobody would press, and answers that no pooler would give.

use std::time::Duration;

use proptest::prelude::*;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::Rect;
use serde_json::{Value, json};

use crate::ask::top::paint::Paint;
use crate::ask::top::state::{Look, State, Told};
use crate::ask::top::view;

/// Texts as others may choose them.
fn hostile() -> impl Strategy<Value = String> {
    let bad = [
        "\u{1b}[2J",
        "\u{1b}]0;x\u{7}",
        "\u{9b}31m",
        "\0",
        "\r\n\t",
        "\u{202e}",
        "漢字",
        "e\u{301}",
        "👨\u{200d}👩\u{200d}👧",
        "\u{fe0f}",
        "\u{7f}",
        "shop",
        " ",
        "healthy",
        "…",
    ];
    let part = prop_oneof![prop::sample::select(bad.to_vec()).prop_map(str::to_owned), ".{0,5}"];
    prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

/// JSON of which the names of values are often those that are looked for.
fn json_value() -> impl Strategy<Value = Value> {
    let names = [
        "pools",
        "waits",
        "clients",
        "active",
        "advice",
        "rule",
        "name",
        "status",
        "health",
        "text",
        "process",
        "connections",
        "used",
        "size_max",
        "waiting",
        "oldest_wait_seconds",
        "figures",
        "queries_rate",
        "id",
        "client",
        "seconds",
        "found",
        "total",
        "at",
        "points",
        "fields",
        "p99",
        "evidence",
        "setting",
        "title",
        "subject",
        "value",
        "database",
        "alert",
        "count",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        hostile().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 6, move |inside| {
        let name = prop_oneof![
            4 => prop::sample::select(names.to_vec()).prop_map(str::to_owned),
            1 => hostile(),
        ];
        prop_oneof![
            prop::collection::vec(inside.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((name, inside), 0..10)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

/// An answer with rows, however strange they are.
fn rows() -> impl Strategy<Value = Value> {
    let list = || prop::collection::vec(json_value(), 0..30).prop_map(Value::from);
    let whole = (list(), json_value()).prop_map(|(rows, found)| {
        json!({ "pools": rows, "waits": rows, "holders": rows, "clients": rows, "servers": rows,
                "active": rows, "advice": rows, "total": found, "found": found })
    });
    prop_oneof![4 => whole, 1 => json_value()]
}

#[derive(Clone, Debug)]
enum Step {
    Key(KeyEvent),
    Answer(Value, Value, Value),
    Fail(String),
    Done(String),
    Size(u16, u16),
}

fn step() -> impl Strategy<Value = Step> {
    let codes = [
        KeyCode::Enter,
        KeyCode::Esc,
        KeyCode::Tab,
        KeyCode::BackTab,
        KeyCode::Up,
        KeyCode::Down,
        KeyCode::PageUp,
        KeyCode::PageDown,
        KeyCode::Home,
        KeyCode::End,
        KeyCode::Backspace,
        KeyCode::F(1),
        KeyCode::Null,
    ];
    let letters: Vec<char> = "123456jkgGspPRK+-?/qyesu\u{202e}漢\u{1b}".chars().collect();
    let code = prop_oneof![
        2 => prop::sample::select(codes.to_vec()),
        5 => prop::sample::select(letters).prop_map(KeyCode::Char),
        1 => any::<char>().prop_map(KeyCode::Char),
    ];
    let control = prop_oneof![9 => Just(KeyModifiers::NONE), 1 => Just(KeyModifiers::CONTROL)];
    prop_oneof![
        10 => (code, control).prop_map(|(code, with)| Step::Key(KeyEvent::new(code, with))),
        4 => (json_value(), rows(), json_value()).prop_map(|(a, b, c)| Step::Answer(a, b, c)),
        1 => hostile().prop_map(Step::Fail),
        1 => hostile().prop_map(Step::Done),
        2 => (0..130_u16, 0..40_u16).prop_map(|(columns, lines)| Step::Size(columns, lines)),
    ]
}

fn thorough() -> ProptestConfig {
    ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(thorough())]

    #[test]
    fn no_key_and_no_answer_panics_or_brings_a_control_character(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut state = State::new(1.0, true);
        let mut size = (80, 24);
        for (second, step) in (0..).zip(steps) {
            let now = Duration::from_secs(second);
            let question = state.question(now);
            match step {
                Step::Key(key) => drop(state.press(key)),
                Step::Fail(text) => state.take(Told::Look(Err(text)), now),
                Step::Done(text) => state.take(Told::Done(Ok(text)), now),
                Step::Size(columns, lines) => size = (columns, lines),
                Step::Answer(status, rows, history) => if let Some(question) = question {
                    let history = question.pool.is_some().then_some(Ok(history));
                    let look = Look { question, status, rows, history };
                    state.take(Told::Look(Ok(look)), now);
                },
            }
            let mut buffer = Buffer::empty(Rect::new(0, 0, size.0, size.1));
            state.resize(size.0, size.1);
            let cursor = view::draw(&mut buffer, &state, now, Paint::Colours);
            if let Some((x, y)) = cursor {
                prop_assert!(x < size.0.max(1) && y < size.1.max(1));
            }
            for cell in &buffer.content {
                let bad = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}');
                prop_assert!(!cell.symbol().contains(bad), "{:?}", cell.symbol());
            }
        }
    }
}
