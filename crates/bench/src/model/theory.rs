//! A queue with random arrivals, random service times and so many servers (M/M/N), in closed form.
//!
//! Invariant: `None` means overload.

use headpond_core::sizing::erlang_c;

/// A queue in front of `servers` that each need `service_s` seconds for a request on average.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Queue {
    /// Requests a second.
    pub rate: f64,
    /// Mean seconds of service.
    pub service_s: f64,
    /// Servers.
    pub servers: u32,
}

impl Queue {
    /// Returns how many servers are busy on average.
    #[must_use]
    pub fn load(&self) -> f64 {
        self.rate * self.service_s
    }

    /// Returns the wait in seconds that the share `q` of all requests does not exceed.
    #[must_use]
    pub fn wait(&self, q: f64) -> Option<f64> {
        let waits = erlang_c(self.servers, self.load())?;
        // Those who wait do so for an exponential time.
        let mean = self.service_s / (f64::from(self.servers) - self.load());
        Some((mean * (waits / (1.0 - q)).ln()).max(0.0))
    }

    /// Returns the mean wait in seconds.
    #[must_use]
    pub fn wait_mean(&self) -> Option<f64> {
        headpond_core::sizing::wait_mean(self.servers, self.load(), self.service_s, 1.0)
    }

    /// Returns the time from arrival to answer that the share `q` does not exceed, in seconds.
    #[must_use]
    pub fn latency(&self, q: f64) -> Option<f64> {
        let waits = erlang_c(self.servers, self.load())?;
        let (mu, theta) =
            (1.0 / self.service_s, (f64::from(self.servers) - self.load()) / self.service_s);
        // The chance to take longer: service alone, or wait and service together.
        let beyond = |t: f64| {
            let alone = (-mu * t).exp();
            let both = if (theta - mu).abs() < 1e-9 * mu {
                (1.0 + mu * t) * alone
            } else {
                (theta * alone - mu * (-theta * t).exp()) / (theta - mu)
            };
            (1.0 - waits) * alone + waits * both
        };
        let (mut low, mut high) = (0.0, self.service_s);
        while beyond(high) > 1.0 - q {
            high *= 2.0;
        }
        for _ in 0..80 {
            let middle = (low + high) / 2.0;
            if beyond(middle) > 1.0 - q { low = middle } else { high = middle }
        }
        Some(high)
    }

    /// Returns the fewest servers with which the share `q` of all requests waits `wait_s` at most;
    /// `servers` does not matter. `variation` is the mean of the squared coefficients of variation
    /// of the gaps between arrivals and of the service times: 1 for random ones.
    #[must_use]
    pub fn fewest(&self, q: f64, wait_s: f64, variation: f64) -> Option<u32> {
        /// Nobody runs more.
        const MOST: u32 = 100_000;
        let load = self.load();
        if !(0.0..f64::from(MOST)).contains(&load) {
            return None;
        }
        let good = |servers: u32| {
            let wait = Self { servers, ..*self }.wait(q);
            wait.is_some_and(|wait| wait * variation <= wait_s)
        };
        // The wait falls with every server.
        let (mut too_few, mut enough) = (load as u32, MOST);
        if !good(enough) {
            return None;
        }
        while enough - too_few > 1 {
            let middle = too_few + (enough - too_few) / 2;
            if good(middle) { enough = middle } else { too_few = middle }
        }
        Some(enough)
    }

    /// Returns the throughput and the mean latency in seconds of a closed loop of `clients` that
    /// do not pause, by mean value analysis of N equal servers with one queue.
    #[must_use]
    pub fn closed(servers: u32, service_s: f64, clients: u32) -> (f64, f64) {
        // Without pauses every client is always at the server: all servers are busy, or as many
        // as there are clients.
        let rate = f64::from(servers.min(clients)) / service_s;
        (rate, f64::from(clients) / rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_server_has_the_textbook_answers() {
        // M/M/1: time from arrival to answer is exponential with mean 1 / (mu - lambda).
        let queue = Queue { rate: 80.0, service_s: 0.01, servers: 1 };
        for q in [0.5, 0.9, 0.99] {
            let expected = -(1.0f64 - q).ln() / 20.0;
            let found = queue.latency(q).expect("not overloaded");
            assert!((found / expected - 1.0).abs() < 1e-6, "{q}: {found}");
        }
        // P(W > t) = 0.8 exp(-20 t).
        let wait = queue.wait(0.99).expect("not overloaded");
        assert!((0.8 * (-20.0 * wait).exp() - 0.01).abs() < 1e-9);
        assert_eq!(queue.wait(0.1), Some(0.0), "a fifth does not wait");
    }

    #[test]
    fn the_fewest_servers_for_a_wait_are_the_fewest() {
        let queue = Queue { rate: 850.0, service_s: 0.01, servers: 0 };
        let fewest = queue.fewest(0.99, 0.01, 1.0).expect("has an answer");
        let wait = |servers| Queue { servers, ..queue }.wait(0.99).expect("enough");
        assert!(wait(fewest) <= 0.01 && wait(fewest - 1) > 0.01, "{fewest}");
        assert!(queue.fewest(0.99, 0.01, 4.0) >= Some(fewest), "bursts need more");
        assert_eq!(Queue { rate: f64::NAN, ..queue }.fewest(0.99, 0.01, 1.0), None);
    }

    #[test]
    fn an_overloaded_queue_has_no_answer() {
        let queue = Queue { rate: 500.0, service_s: 0.01, servers: 4 };
        assert_eq!((queue.wait(0.5), queue.latency(0.5), queue.wait_mean()), (None, None, None));
    }
}
