//! What a client may do: sizes, times and rules.
//!
//! Invariant: every number has a default, and every default a reason.
//! Left out: TLS (`tls.rs`).

use std::time::Duration;

/// Sizes, times and rules of a client.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// Requests that may be under way to one origin; over HTTP/1.1 each has a connection.
    /// Default: 50, because a server that is slower with more gets no faster by getting more.
    pub max_per_origin: u32,
    /// Connections to one origin that are kept while nobody uses them.
    /// Default: 10, because the rest was for a peak.
    pub max_idle: u32,
    /// How long a connection may lie idle.
    /// Default: 60 s, because many servers close theirs after that.
    pub idle_timeout: Duration,
    /// After how long a silence the operating system asks whether the peer is there.
    /// Default: 1 s, because that is what the HTTP agents do that this is to replace.
    pub tcp_keep_alive: Option<Duration>,
    /// How long opening a connection may take, TLS included.
    /// Default: 10 s, because a lost packet costs some seconds.
    pub connect_timeout: Duration,
    /// How long the head of a response may take, from sending the request.
    /// Default: no limit of its own, because `request_timeout` includes it.
    pub head_timeout: Option<Duration>,
    /// How long a request may take: waiting, connecting, redirects and reading the body.
    /// Default: 30 s, because nobody waits longer.
    pub request_timeout: Duration,
    /// Requests to one origin that may wait.
    /// Default: no bound, because `request_timeout` bounds the queue.
    pub queue_max: Option<u32>,
    /// Redirects that are followed; 0 hands them to the caller.
    /// Default: 5, because honest ones need two or three.
    pub redirects_max: u32,
    /// Bytes that a response may have.
    /// Default: 50 MB, because more should be streamed to where it belongs, with another limit.
    pub body_limit: u64,
    /// Bytes that are read from a response that nobody wants, to use its connection again.
    /// Default: 64 KiB, because reading more takes longer than connecting.
    pub drain_limit: u64,
    /// Which versions of HTTP are spoken.
    /// Default: what the server prefers over TLS, and 1.1 without.
    pub versions: Versions,
    /// Origins that are remembered; those without a request are forgotten for new ones.
    /// Default: 1000, because addresses may come from strangers.
    pub origins_max: usize,
}

/// Which versions of HTTP are spoken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Versions {
    /// What the server prefers over TLS, and 1.1 without.
    #[default]
    Negotiate,
    /// 1.1 only.
    Http1,
    /// 2 only, without TLS as well.
    Http2,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_per_origin: 50,
            max_idle: 10,
            idle_timeout: Duration::from_secs(60),
            tcp_keep_alive: Some(Duration::from_millis(1000)),
            connect_timeout: Duration::from_secs(10),
            head_timeout: None,
            request_timeout: Duration::from_secs(30),
            queue_max: None,
            redirects_max: 5,
            body_limit: 50_000_000,
            drain_limit: 65_536,
            versions: Versions::default(),
            origins_max: 1000,
        }
    }
}

impl Settings {
    /// Returns the settings of the pool of one origin.
    pub(crate) fn pool(&self) -> crate::Settings {
        crate::Settings {
            max: self.max_per_origin,
            min: 0,
            acquire_timeout: Some(self.request_timeout),
            connect_timeout: self.connect_timeout,
            // A connection that the server closed is seen; nothing else can be asked.
            check_after: None,
            keep_alive: None,
            idle_timeout: Some(self.idle_timeout),
            queue_max: self.queue_max,
            // Connects are cheap for a server of HTTP, and bursts are usual.
            connects_max: self.max_per_origin.max(1),
            // Whoever asks a server that is not there wants to know, and not in half a minute.
            on_failing: crate::OnFailing::FailFast,
            breaker: None,
            leak_after: None,
            // One request may well be made while the response of another is being read.
            nested: crate::Nested::Allow,
            ..crate::Settings::default()
        }
    }
}
