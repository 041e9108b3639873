//! What an answer means, and when to try again.
//!
//! Invariant: only what the specification calls passing is tried again before its time: 429, 502,
//! 503, 504, and a connection that failed; a partial success is a success.
//! Not here: trying (`push.rs`).

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime};

use hyper::header::RETRY_AFTER;
use hyper::{HeaderMap, StatusCode};
use prost::Message;

use super::message::Response;
use crate::post::{Answer, PostError};

/// The first pause after a failure.
const PAUSE_FIRST: Duration = Duration::from_secs(1);

/// How a push ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Delivered,
    /// So many points were not taken, for good.
    Partial(u64),
    Failed(String, Again),
}

/// When to try again after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// When it is time anyway: the receiver would not like it better.
    NextTime,
    /// After a pause of our own choice.
    Soon,
    /// After the pause that the receiver asks for.
    After(Duration),
}

/// Says how a push ended, by its answer.
pub fn judge(answer: Result<Answer, PostError>, now: SystemTime) -> Outcome {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error @ PostError::Forbidden) => {
            return Outcome::Failed(error.to_string(), Again::NextTime);
        }
        Err(error) => return Outcome::Failed(error.to_string(), Again::Soon),
    };
    if answer.status.is_success() {
        // Whatever is no message of OTLP says that nothing was refused.
        let response = Response::decode(answer.body).unwrap_or_default();
        let rejected = response.partial_success.map_or(0, |partial| partial.rejected_data_points);
        return match u64::try_from(rejected) {
            Ok(rejected) if rejected > 0 => Outcome::Partial(rejected),
            _ => Outcome::Delivered,
        };
    }
    let again = match answer.status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => {
            retry_after(&answer.headers, now).map_or(Again::Soon, Again::After)
        }
        _ => Again::NextTime,
    };
    Outcome::Failed(PostError::Status(answer.status.as_u16()).to_string(), again)
}

/// Reads how long to wait: seconds, or until a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    // A date that is over asks for nothing.
    Some(date.duration_since(now).unwrap_or_default())
}

/// Returns the pause after so many failures in a row: twice as long each time up to the interval,
/// and between half of that and all of it, so that those who failed together come back one by one.
pub fn pause(failures: u32, random: f64, interval: Duration) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let whole = PAUSE_FIRST.saturating_mul(1 << doublings).min(interval.max(PAUSE_FIRST));
    whole.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
}

/// Returns a number from 0 to 1.
pub fn random() -> f64 {
    let bits = RandomState::new().hash_one(0_u8) >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;
    use crate::otlp::message::PartialSuccess;

    fn answer(status: u16, headers: &[(&'static str, &str)], body: &[u8]) -> Outcome {
        let header = |(name, value): &(&'static str, &str)| {
            let value = HeaderValue::from_str(value).expect("a value");
            (HeaderName::from_static(name), value)
        };
        let status = StatusCode::from_u16(status).expect("a status");
        let headers = headers.iter().map(header).collect();
        let body = Bytes::copy_from_slice(body);
        judge(Ok(Answer { status, headers, body }), SystemTime::UNIX_EPOCH)
    }

    fn rejecting(rejected_data_points: i64) -> Vec<u8> {
        let partial_success = Some(PartialSuccess { rejected_data_points });
        Response { partial_success }.encode_to_vec()
    }

    #[test]
    fn a_success_says_how_much_of_it_was_none() {
        for (body, expected) in [
            (Vec::new(), Outcome::Delivered),
            (rejecting(0), Outcome::Delivered),
            (rejecting(7), Outcome::Partial(7)),
            (rejecting(-7), Outcome::Delivered),
            (b"<html>fine</html>".to_vec(), Outcome::Delivered),
            (b"{\"partialSuccess\":{}}".to_vec(), Outcome::Delivered),
            (vec![0xFF; 40], Outcome::Delivered),
        ] {
            assert_eq!(answer(200, &[], &body), expected);
        }
    }

    #[test]
    fn only_what_may_pass_is_tried_again_before_its_time() {
        let soon = [429, 502, 503, 504];
        for status in [301, 400, 401, 403, 404, 408, 413, 429, 500, 501, 502, 503, 504, 505] {
            let again = if soon.contains(&status) { Again::Soon } else { Again::NextTime };
            let expected = Outcome::Failed(format!("answered {status}"), again);
            assert_eq!(answer(status, &[], b""), expected);
        }
        let gone = judge(Err(PostError::Timeout(Duration::from_secs(10))), SystemTime::now());
        let text = "took longer than 10 s".to_owned();
        assert_eq!(gone, Outcome::Failed(text, Again::Soon));
    }

    #[test]
    fn a_receiver_says_how_long_it_wants_to_be_left_alone() {
        for (text, seconds) in [
            ("0", Some(0)),
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("Thu, 01 Jan 1970 00:02:03 GMT", Some(123)),
            ("-5", None),
            ("1.5", None),
            ("soon", None),
            ("99999999999999999999999", None),
        ] {
            let again = seconds.map_or(Again::Soon, |s| Again::After(Duration::from_secs(s)));
            let expected = Outcome::Failed("answered 503".to_owned(), again);
            assert_eq!(answer(503, &[("retry-after", text)], b""), expected, "{text}");
        }
        let late = HeaderMap::from_iter([(
            RETRY_AFTER,
            HeaderValue::from_static("Thu, 01 Jan 1970 00:02:03 GMT"),
        )]);
        assert_eq!(retry_after(&late, SystemTime::now()), Some(Duration::ZERO));
    }

    #[test]
    fn pauses_grow_to_the_interval_and_are_spread() {
        let minute = Duration::from_secs(60);
        let whole: Vec<u64> = (1..9).map(|n| pause(n, 1.0, minute).as_secs()).collect();
        assert_eq!(whole, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pause(u32::MAX, 0.0, minute), Duration::from_secs(30));
        assert_eq!(pause(5, 1.0, Duration::from_millis(100)), PAUSE_FIRST);
        assert!((0..100).all(|_| (0.0..1.0).contains(&random())));
    }
}
