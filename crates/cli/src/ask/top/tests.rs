//! Laws of the screen without a terminal: keys and answers in, cells out; and of one with a
//! terminal that only a panic shows.

use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier};
use serde_json::{Value, json};

use super::keys::Effect;
use super::paint::{Paint, bar, cut, spark, wrap};
use super::state::{Look, Question, State, Told, View};
use super::{screen, view};

mod strange;
#[path = "../../../tests/top/terminal.rs"]
#[expect(dead_code, reason = "a part of it is used here")]
mod terminal;

const NOW: Duration = Duration::from_secs(100);

fn status() -> Value {
    json!({
        "at": "2026-12-01T10:20:30.123Z", "status": "warning", "alerts_firing": 2,
        "process": { "service": "headpond", "version": "9.9", "uptime_seconds": 7300.0,
                     "clients": 12, "clients_max": 100, "phase": "running", "paused": false },
    })
}

fn pool(name: &str, used: u32, waiting: u32) -> Value {
    json!({
        "name": name, "database": "shop", "user": "web", "mode": "transaction",
        "connections": { "used": used, "idle": 3 }, "size_max": 10, "waiting": waiting,
        "oldest_wait_seconds": 1.5,
        "health": { "status": "warning", "text": "full, but still serving" },
        "figures": { "queries_rate": 1234.5, "query_p50_seconds": 0.0021,
                     "query_p99_seconds": 0.045, "wait_p99_seconds": 0.3 },
        "waits": [{ "reason": "pool full", "count": 7, "p50": 0.1, "p99": 0.2, "max": 0.9 }],
        "totals": { "queries": 99 },
    })
}

fn answer(state: &mut State, rows: Value) {
    let question = Question { view: state.view, words: state.table().words.clone(), pool: None };
    let look = Look { question, status: status(), rows, history: None };
    state.take(Told::Look(Ok(look)), NOW);
}

fn pools(pools: Vec<Value>) -> State {
    let mut state = State::new(1.0, true);
    state.resize(80, 24);
    answer(&mut state, json!({ "total": pools.len(), "pools": pools }));
    state
}

fn press(state: &mut State, keys: &str) -> Effect {
    let mut effect = Effect::Show;
    for key in keys.chars() {
        let code = match key {
            '\n' => KeyCode::Enter,
            '\u{1b}' => KeyCode::Esc,
            '\u{8}' => KeyCode::Backspace,
            '\t' => KeyCode::Tab,
            letter => KeyCode::Char(letter),
        };
        effect = state.press(KeyEvent::new(code, KeyModifiers::NONE));
    }
    effect
}

/// Draws through a terminal, as the program does.
fn frame(state: &mut State, columns: u16, lines: u16, paint: Paint) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(columns, lines)).expect("it cannot fail");
    state.resize(columns, lines);
    let draw = |frame: &mut ratatui::Frame<'_>| {
        if let Some(cursor) = view::draw(frame.buffer_mut(), state, NOW, paint) {
            frame.set_cursor_position(cursor);
        }
    };
    terminal.draw(draw).expect("it cannot fail");
    terminal.backend().buffer().clone()
}

fn lines(buffer: &Buffer) -> Vec<String> {
    let line = |y| (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..buffer.area.height).map(|y| line(y).trim_end().to_owned()).collect()
}

fn text(state: &mut State, columns: u16, rows: u16) -> String {
    lines(&frame(state, columns, rows, Paint::Colours)).join("\n")
}

#[test]
fn the_head_says_in_words_how_it_is_and_when_that_was() {
    let mut state = pools(vec![pool("shop/web", 10, 5)]);
    let text = text(&mut state, 100, 24);
    let head = text.lines().next().expect("a line");
    for part in ["WARNING", "headpond", "9.9", "up 2.0h", "clients 12/100", "alerts 2 FIRING"] {
        assert!(head.contains(part), "{part}: {head}");
    }
    assert!(head.contains("10:20:30Z") && head.contains("every 1.0s"), "{head}");
}

#[test]
fn a_pool_is_one_line_with_all_its_figures() {
    let mut state = pools(vec![pool("shop/web", 5, 3)]);
    let text = text(&mut state, 120, 24);
    let line = text.lines().find(|line| line.starts_with("> shop/web")).expect("its line");
    for part in ["> ", "warning", "5/10", "████░░░░", "3 (1.5s)", "1234", "2.1ms", "45ms", "300ms"]
    {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(line.ends_with("full, but still serving"), "{line}");
}

#[test]
fn where_it_is_narrow_the_least_important_goes_first() {
    let mut state = pools(vec![pool("shop/web", 10, 5)]);
    let wide = text(&mut state, 80, 24);
    for part in ["POOL", "USED", "████████", "IDLE", "WAITING", "QUERIES/S", "P99", "WAIT P99"]
    {
        assert!(wide.contains(part), "{part}:\n{wide}");
    }
    assert!(!wide.contains("WHY"), "{wide}");
    let why = wide.lines().nth(2).expect("a line");
    assert!(why.contains("shop/web: full, but still serving"), "the chosen one says why: {why}");
    let narrow = text(&mut state, 40, 10);
    for part in ["WARNING", "alerts 2", "[1 Pools]", "shop/web", "10/10", "5 (1.5s)", "? help"] {
        assert!(narrow.contains(part), "{part}:\n{narrow}");
    }
    for part in ["IDLE", "QUERIES/S", "Holders", "every"] {
        assert!(!narrow.contains(part), "{part}:\n{narrow}");
    }
}

#[test]
fn the_end_of_a_long_name_goes_before_a_figure_does() {
    let mut state = pools(vec![pool("a-shop-with-a-long-name/and-a-user", 10, 5)]);
    let narrow = text(&mut state, 40, 10);
    for part in ["> a-shop-wit", "…", "10/10", "5 (1.5s)"] {
        assert!(narrow.contains(part), "{part}:\n{narrow}");
    }
    assert!(text(&mut state, 120, 24).contains("a-shop-with-a-long-name/and…"));
}

#[test]
fn the_busiest_pool_comes_first_and_s_sorts_by_the_next_column() {
    let mut state = pools(vec![pool("a", 1, 0), pool("c", 0, 9), pool("b", 5, 0)]);
    let order = |state: &mut State| -> Vec<String> {
        let text = text(state, 80, 24);
        let rows = text.lines().skip(4).filter_map(|line| line.get(2..3));
        rows.take(3).map(str::to_owned).collect()
    };
    assert_eq!(order(&mut state), ["c", "b", "a"]);
    press(&mut state, "s");
    assert_eq!(order(&mut state), ["a", "b", "c"]);
    assert!(text(&mut state, 80, 24).contains("sorted by POOL"));
    press(&mut state, "ss");
    assert_eq!(order(&mut state), ["b", "a", "c"], "by what is used");
}

#[test]
fn the_chosen_row_stays_the_same_one_while_others_come_and_go() {
    let mut state = pools(vec![pool("a", 3, 0), pool("b", 2, 0), pool("c", 1, 0)]);
    press(&mut state, "j");
    answer(&mut state, json!({ "pools": [pool("new", 9, 9), pool("b", 8, 0), pool("c", 1, 0)] }));
    let chosen = state.table().chosen().expect("a row").1["name"].clone();
    assert_eq!(chosen, "b");
    answer(&mut state, json!({ "pools": [pool("c", 1, 0)] }));
    assert_eq!(state.table().chosen().expect("the nearest").1["name"], "c");
}

#[test]
fn who_has_chosen_nothing_stays_with_the_first_row() {
    let mut state = pools(vec![pool("a", 3, 0), pool("b", 2, 0)]);
    answer(&mut state, json!({ "pools": [pool("a", 3, 0), pool("b", 9, 0)] }));
    assert_eq!(state.table().chosen().expect("a row").1["name"], "b");
    press(&mut state, "jg");
    answer(&mut state, json!({ "pools": [pool("a", 3, 0), pool("b", 2, 0)] }));
    assert_eq!(state.table().chosen().expect("a row").1["name"], "a");
}

#[test]
fn without_an_answer_the_figures_stay_grey_with_their_age_and_why() {
    let mut state = pools(vec![pool("shop/web", 10, 5)]);
    let _ = state.question(NOW);
    state.take(Told::Look(Err("refused\u{1b}[2J".to_owned())), NOW);
    let mut buffer = Buffer::empty(Rect::new(0, 0, 80, 24));
    state.resize(80, 24);
    view::draw(&mut buffer, &state, NOW + Duration::from_secs(12), Paint::Colours);
    let text = lines(&buffer).join("\n");
    for part in ["NO ANSWER", "was warning", "figures 12.0s old", "refused", "shop/web", "10/10"] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    assert!(buffer[(2, 4)].modifier.contains(Modifier::DIM));
    answer(&mut state, json!({ "pools": [] }));
    assert!(!self::text(&mut state, 80, 24).contains("NO ANSWER"));
}

#[test]
fn nothing_is_asked_while_it_is_frozen_and_at_once_afterwards() {
    let mut state = pools(vec![pool("a", 1, 0)]);
    assert!(state.question(NOW).is_some());
    press(&mut state, "p");
    answer(&mut state, json!({ "pools": [pool("late", 1, 0)] }));
    assert!(text(&mut state, 80, 24).contains("FROZEN"));
    assert!(!text(&mut state, 80, 24).contains("late"));
    assert_eq!(state.question(NOW + Duration::from_secs(60)), None);
    press(&mut state, "p");
    assert!(state.question(NOW).is_some());
}

#[test]
fn one_question_at_a_time_and_another_view_is_asked_for_at_once() {
    let mut state = pools(vec![]);
    let first = state.question(NOW).expect("due");
    assert_eq!(first.view, View::Pools);
    press(&mut state, "3");
    assert_eq!(state.question(NOW + Duration::from_secs(9)), None, "the first is not answered");
    state.take(Told::Look(Err(String::new())), NOW);
    assert_eq!(state.question(NOW).expect("due").view, View::Holders);
    answer(&mut state, json!({ "holders": [] }));
    assert_eq!(state.question(NOW), None, "not before the interval is over");
    assert!(state.question(NOW + Duration::from_secs(1)).is_some());
}

#[test]
fn a_filter_hides_at_once_and_is_asked_for_when_it_is_whole() {
    let mut state = State::new(1.0, false);
    state.resize(80, 24);
    press(&mut state, "4");
    let client = |id: u32, user: &str| json!({ "id": id, "user": user });
    answer(&mut state, json!({ "found": 9, "clients": [client(1, "Web"), client(2, "batch")] }));
    let _ = state.question(NOW);
    press(&mut state, "/web");
    let screen = text(&mut state, 80, 24);
    assert!(screen.contains("Web") && !screen.contains("batch"), "{screen}");
    state.take(Told::Look(Err(String::new())), NOW);
    assert_eq!(state.question(NOW), None, "not for every letter");
    press(&mut state, "\n");
    assert_eq!(state.question(NOW).expect("due").words, "web");
    press(&mut state, "/x\u{1b}");
    assert_eq!(state.table().words, "web", "Esc keeps what was");
    press(&mut state, "\u{1b}");
    assert_eq!(state.table().words, "", "and then takes it away");
    assert_eq!(press(&mut state, "\u{1b}"), Effect::Leave);
}

#[test]
fn an_order_needs_a_token_and_a_typed_word_and_is_about_what_was_chosen_then() {
    let mut state = pools(vec![pool("a", 1, 0)]);
    state.can_act = false;
    press(&mut state, "P");
    assert!(text(&mut state, 80, 24).contains("--token-file"));
    state.can_act = true;
    press(&mut state, "Py");
    assert_eq!(press(&mut state, "\n"), Effect::Show);
    assert!(text(&mut state, 80, 24).contains("not done: pause database shop"));
    press(&mut state, "P");
    let mut other = pool("b", 9, 9);
    other["database"] = json!("other");
    answer(&mut state, json!({ "pools": [other] }));
    let Effect::Act(order) = press(&mut state, "yes\n") else { panic!("it was meant") };
    assert_eq!((order.word, &order.body), ("pause", &json!({ "database": "shop" })));
    press(&mut state, "R");
    assert!(state.prompt.is_none(), "one order at a time");
    state.take(Told::Done(Err("refused\u{7}".to_owned())), NOW);
    assert!(text(&mut state, 80, 24).contains("refused\u{fffd}"));
}

#[test]
fn a_row_that_is_gone_cannot_be_acted_on_and_says_so() {
    let mut state = pools(vec![pool("a", 1, 0)]);
    press(&mut state, "\n");
    answer(&mut state, json!({ "pools": [pool("b", 1, 0)] }));
    assert!(text(&mut state, 80, 24).contains("gone: this is how it last was"));
    press(&mut state, "P");
    assert!(state.prompt.is_none());
}

#[test]
fn a_pool_shows_its_last_minutes_and_what_its_callers_waited_for() {
    let mut state = pools(vec![pool("shop/web", 10, 5)]);
    press(&mut state, "\n");
    let question = state.question(NOW).expect("its history is wanted at once");
    assert_eq!(question.pool.as_deref(), Some("shop/web"));
    let point = |ago: u32, used: u32| json!([ago, used, 0, 0.001]);
    let history = json!({
        "fields": ["used", "waiting", "query_p99_seconds"], "full_in_seconds": 7200.0,
        "points": [point(20, 0), point(10, 8), point(0, 4)],
    });
    let look = Look {
        question,
        status: status(),
        rows: json!({ "pools": [pool("shop/web", 10, 5)] }),
        history: Some(Ok(history)),
    };
    state.take(Told::Look(Ok(look)), NOW);
    let screen = text(&mut state, 80, 24);
    for part in ["▁█▄", "now 4, at most 8", "full in 2.0h", "pool full", "900ms", "99, "] {
        assert!(screen.contains(part), "{part}:\n{screen}");
    }
    press(&mut state, "\u{1b}");
    assert!(text(&mut state, 80, 24).contains("> shop/web"));
}

#[test]
fn without_colours_there_are_none_and_nothing_is_missing() {
    let mut state = pools(vec![pool("shop/web", 10, 5)]);
    let (with, without) =
        (frame(&mut state, 80, 24, Paint::Colours), frame(&mut state, 80, 24, Paint::Plain));
    assert_eq!(lines(&with), lines(&without));
    assert!(with.content.iter().any(|cell| cell.fg != Color::Reset));
    let plain = |cell: &ratatui::buffer::Cell| (cell.fg, cell.bg) == (Color::Reset, Color::Reset);
    assert!(without.content.iter().all(plain));
}

#[test]
fn advice_stands_with_alerts_and_shows_what_to_paste() {
    let mut state = State::new(1.0, false);
    press(&mut state, "6");
    answer(
        &mut state,
        json!({
            "active": [{ "rule": { "name": "PoolLongWait", "severity": "critical", "summary": "s" },
                         "subject": "shop/web", "phase": "firing", "silenced": true,
                         "value": 7.5 }],
            "advice": [{ "subject": "shop/web", "weight": "warning", "title": "raise pool_size",
                         "evidence": ["full for 9 minutes"], "setting": "pool_size = 20",
                         "effect": "shorter waits" }],
        }),
    );
    let screen = text(&mut state, 100, 24);
    for part in
        ["PoolLongWait", "critical", "firing, silenced", "7.50", "advice", "raise pool_size"]
    {
        assert!(screen.contains(part), "{part}:\n{screen}");
    }
    press(&mut state, "j\n");
    let screen = text(&mut state, 80, 24);
    for part in ["full for 9 minutes", "    pool_size = 20", "expect: shorter waits"] {
        assert!(screen.contains(part), "{part}:\n{screen}");
    }
}

#[test]
fn texts_fit_whatever_they_are_made_of() {
    assert_eq!((cut("abcdef", 4).as_str(), cut("ab", 4).as_str()), ("abc…", "ab"));
    assert_eq!((cut("漢字漢字", 4).as_str(), cut("漢", 1).as_str()), ("漢…", "…"));
    assert_eq!(cut("x", 0), "");
    assert_eq!(wrap("one two three", 7), ["one two", "three"]);
    assert_eq!(wrap("漢字漢字", 4), ["漢字", "漢字"]);
    assert_eq!((bar(0.5, 4), bar(9.0, 2), bar(-1.0, 2)), ("██░░".into(), "██".into(), "░░".into()));
    assert_eq!(spark(&[0.0, 4.0, 8.0, 1.0], 2), "▄█", "peaks stay");
    assert_eq!(spark(&[], 5), "");
}

#[test]
fn the_help_names_every_key_at_any_size() {
    let mut state = pools(vec![]);
    press(&mut state, "?");
    assert!(text(&mut state, 80, 24).contains("close the chosen client"));
    let _ = text(&mut state, 40, 10);
    press(&mut state, "G");
    assert!(text(&mut state, 40, 10).contains("leave"), "{}", text(&mut state, 40, 10));
}

/// What the next test runs in a process of its own.
#[test]
#[ignore = "a part of the next test"]
fn a_screen_that_panics() {
    let _screen = screen::Screen::open(Paint::Colours).expect("a terminal");
    panic!("somebody made a mistake");
}

#[test]
fn a_panic_gives_the_terminal_back_and_is_read_on_it() {
    let terminal = terminal::Terminal::new(80, 24);
    let before = terminal.settings();
    let mut command =
        std::process::Command::new(std::env::current_exe().expect("a test has a path"));
    command.args(["--ignored", "--nocapture", "--exact"]);
    command.arg("ask::top::tests::a_screen_that_panics").env("TERM", "xterm");
    let mut program = terminal.run(&command);
    assert_eq!(program.wait().code(), Some(101));
    assert_eq!(terminal.settings(), before);
    let seen = terminal.wait_for("somebody made a mistake");
    assert!(!seen.is_alternate && !seen.is_cursor_hidden, "{}", seen.text());
    let bytes = String::from_utf8_lossy(&terminal.bytes()).into_owned();
    let (taken, back) = (bytes.find("\u{1b}[?1049h"), bytes.find("\u{1b}[?1049l"));
    assert!(taken.is_some() && taken < back, "{bytes:?}");
}
