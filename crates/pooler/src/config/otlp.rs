//! The settings of `[otlp]`: where metrics are pushed to.
//!
//! Invariant: with every one at its default nothing is sent anywhere; addresses and headers are
//! secrets, because keys stand in both.
//! Not here: the variables of OpenTelemetry, which set the same keys (`headpond_monitor::otlp`).

use headpond_monitor::otlp::{Settings, pairs};

use super::kind::{Flag, Invalid, Kind, OptionalText, Seconds};
use super::secret::Secret;
use super::table::settings;

settings! {
    /// Where metrics are pushed to.
    Otlp;
    enabled: Flag = "1", Restart Policy Honoured,
        "Whether metrics are pushed where the addresses below say",
        "whoever gives an address wants it";
    endpoint: Endpoint = "", Restart Policy Honoured,
        "Base address of a receiver of OTLP over HTTP; /v1/metrics is added to it",
        "nothing is sent anywhere unasked";
    metrics_endpoint: Endpoint = "", Restart Policy Honoured,
        "The whole address, taken as it is and instead of the base address",
        "receivers keep to the usual path";
    protocol: Protocol = "http/protobuf", Restart Policy Honoured,
        "How metrics are sent; there is one way", "every receiver has to take it";
    headers: Headers = "", Restart Policy Honoured,
        "What is sent along, such as a key: a comma list of name=value, values percent-encoded",
        "a receiver on the same machine may need none";
    interval: Seconds = "60", Restart Policy Honoured,
        "How often metrics are pushed", "OpenTelemetry's specification says so";
    timeout: Seconds = "10", Restart Policy Honoured,
        "How long a push may take, 0 for an hour", "OpenTelemetry's specification says so";
    service_name: OptionalText = "", Restart Policy Honoured,
        "What the process is called, as service.name; headpond if empty",
        "it is what it is called everywhere else";
    resource_attributes: Attributes = "", Restart Policy Honoured,
        "What else is said of the process: a comma list of name=value, values percent-encoded",
        "version and a random instance id are enough to tell processes apart";
}

/// An address to post to; empty for none.
pub enum Endpoint {}

impl Kind for Endpoint {
    type Value = Option<Secret>;
    const EXPECTS: &'static str = "an address such as http://localhost:4318, or nothing";
    const IS_SECRET: bool = true;

    fn parse(text: &str) -> Result<Option<Secret>, Invalid> {
        if text.is_empty() {
            return Ok(None);
        }
        // Whether there are authorities for https is a matter of the machine, not of the text.
        match headpond_monitor::Target::new(text, None) {
            Ok(_) | Err(headpond_monitor::TargetError::NoTls) => Ok(Some(Secret::from(text))),
            Err(_) => Err(Invalid::Expected(Self::EXPECTS)),
        }
    }

    fn show(value: &Option<Secret>) -> Option<String> {
        value.as_ref().map(Secret::to_string)
    }
}

/// How metrics are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Binary messages, posted.
    HttpProtobuf,
}

impl Kind for Protocol {
    type Value = Protocol;
    const EXPECTS: &'static str = "http/protobuf";

    fn parse(text: &str) -> Result<Protocol, Invalid> {
        match text {
            "http/protobuf" => Ok(Protocol::HttpProtobuf),
            "grpc" | "http/json" => Err(Invalid::Unsupported),
            _ => Err(Invalid::Expected(Self::EXPECTS)),
        }
    }

    fn show(value: &Protocol) -> Option<String> {
        Some(match value {
            Protocol::HttpProtobuf => "http/protobuf".to_owned(),
        })
    }
}

/// Headers of requests; empty for none.
pub enum Headers {}

impl Kind for Headers {
    type Value = Option<Secret>;
    const EXPECTS: &'static str = "a comma list of name=value that can be headers";
    const IS_SECRET: bool = true;

    fn parse(text: &str) -> Result<Option<Secret>, Invalid> {
        // Any address will do to see whether the headers can be sent.
        let settings = Settings::new("http://localhost", None);
        match settings.and_then(|settings| settings.headers(text)) {
            Ok(_) => Ok((!text.is_empty()).then(|| Secret::from(text))),
            Err(_) => Err(Invalid::Expected(Self::EXPECTS)),
        }
    }

    fn show(value: &Option<Secret>) -> Option<String> {
        value.as_ref().map(Secret::to_string)
    }
}

/// Attributes of the process, kept as they were written.
pub enum Attributes {}

impl Kind for Attributes {
    type Value = String;
    const EXPECTS: &'static str = "a comma list of name=value";

    fn parse(text: &str) -> Result<String, Invalid> {
        match pairs(text) {
            Ok(_) => Ok(text.to_owned()),
            Err(_) => Err(Invalid::Expected(Self::EXPECTS)),
        }
    }

    fn show(value: &String) -> Option<String> {
        Some(value.clone())
    }
}
