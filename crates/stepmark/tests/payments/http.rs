//! How do a payment and its receipt travel?
//!
//! One request per connection, as HTTP/1.1: the key is a header, the payment is the body.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No message of these tests is longer.
const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// What is asked of the payment service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Repetitions are known by it.
    pub(crate) key: String,
    pub(crate) payment: Payment,
    /// Who asks, for those who judge; the service does not look at it.
    pub(crate) caller: Caller,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Payment {
    pub(crate) invoice: u32,
    pub(crate) cents: u64,
}

/// From where a payment is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Caller {
    pub(crate) thread: String,
    /// What it does with unknown outcomes.
    pub(crate) policy: String,
    /// The number of its flight.
    pub(crate) flight: u64,
}

/// What the service answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// It is paid, now or before.
    Paid(Receipt),
    /// Nothing was paid.
    Refused,
    /// The key was used for another payment.
    Mixed,
}

/// What a payment is acknowledged with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Receipt {
    /// Counts payments.
    pub(crate) number: u64,
    pub(crate) payment: Payment,
    pub(crate) key: String,
}

/// A request that is on its way.
#[derive(Debug)]
pub(crate) struct Sent(TcpStream);

/// Sends a request.
pub(crate) async fn send(service: SocketAddr, request: &Request) -> Result<Sent> {
    let Request { key, payment, caller } = request;
    let body = serde_json::to_string(payment)?;
    let caller = serde_json::to_string(caller)?;
    let head =
        format!("POST /payments HTTP/1.1\r\nHost: {service}\r\nIdempotency-Key: {key}\r\nX-Caller: {caller}\r\n");
    let mut stream = TcpStream::connect(service).await?;
    stream.write_all(with_body(&head, &body).as_bytes()).await?;
    Ok(Sent(stream))
}

impl Sent {
    /// Waits for the reply. An error leaves open what became of the request.
    pub(crate) async fn reply(mut self) -> Result<Reply> {
        let Message { first, body, .. } = read(&mut self.0).await?;
        match first.split(' ').nth(1) {
            Some("200") => Ok(Reply::Paid(serde_json::from_str(&body)?)),
            Some("503") => Ok(Reply::Refused),
            Some("409") => Ok(Reply::Mixed),
            _ => Err(Error::new(ErrorKind::InvalidData, first)),
        }
    }
}

/// Reads the request of a connection.
pub(crate) async fn request(stream: &mut TcpStream) -> Result<Request> {
    let message = read(stream).await?;
    let missing = |name| Error::new(ErrorKind::InvalidData, format!("{name} is missing"));
    let key = message.header("idempotency-key").ok_or_else(|| missing("the key"))?.to_owned();
    let caller = message.header("x-caller").ok_or_else(|| missing("the caller"))?;
    Ok(Request { key, caller: json(caller)?, payment: json(&message.body)? })
}

/// Answers the request of a connection.
pub(crate) async fn answer(stream: &mut TcpStream, reply: &Reply) -> Result<()> {
    let (status, body) = match reply {
        Reply::Paid(receipt) => ("200 OK", serde_json::to_string(receipt)?),
        Reply::Refused => ("503 Service Unavailable", String::new()),
        Reply::Mixed => ("409 Conflict", String::new()),
    };
    stream.write_all(with_body(&format!("HTTP/1.1 {status}\r\n"), &body).as_bytes()).await
}

fn json<T: DeserializeOwned>(text: &str) -> Result<T> {
    Ok(serde_json::from_str(text)?)
}

fn with_body(head: &str, body: &str) -> String {
    format!("{head}Connection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A message as it is read.
struct Message {
    /// The request line, or the status line.
    first: String,
    /// Names in lower case, with values.
    headers: Vec<(String, String)>,
    body: String,
}

impl Message {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

async fn read(stream: &mut TcpStream) -> Result<Message> {
    let mut bytes = Vec::new();
    loop {
        if let Some(message) = parsed(&bytes) {
            return Ok(message);
        }
        let more = stream.read_buf(&mut bytes).await?;
        if more == 0 || bytes.len() > MESSAGE_BYTES_MAX {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
}

/// The message, once it is there whole.
fn parsed(bytes: &[u8]) -> Option<Message> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let first = lines.next()?.to_owned();
    let named = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    let headers = lines.filter_map(named).collect();
    let message = Message { first, headers, body: body.to_owned() };
    let length: usize = message.header("content-length")?.parse().ok()?;
    (body.len() >= length).then_some(message)
}
