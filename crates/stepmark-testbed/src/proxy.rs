//! What stands between a client and a server, counts what they say to each other, and cuts them off at a chosen word?
//!
//! A turn is what a client says at once, up to the server's next word: a round trip. What is in the bytes it does not
//! know.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

/// Where a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The server never hears the turn.
    BeforeRequest,
    /// The server has answered the turn, and the client never hears it.
    BeforeReply,
}

/// A proxy of one server.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    turns: AtomicU64,
    ends: AtomicBool,
    // Mutexes, because two threads of each connection and the test look at them; held for a word.
    armed: Mutex<Option<(u64, Cut)>>,
    open: Mutex<Vec<Weak<Wire>>>,
}

/// One connection, both sides.
#[derive(Debug)]
struct Wire {
    client: TcpStream,
    server: TcpStream,
    /// Whether the client spoke last.
    asked: AtomicBool,
    /// Whether the next word of the server ends the connection.
    muted: AtomicBool,
}

impl Proxy {
    /// A proxy of the server at this port of this machine.
    pub fn start(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let own = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            server: (Ipv4Addr::LOCALHOST, port).into(),
            turns: AtomicU64::new(0),
            ends: AtomicBool::new(false),
            armed: Mutex::default(),
            open: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        thread::Builder::new().name("proxy".to_owned()).spawn(move || serve(&listener, &serving))?;
        Ok(Self { port: own, shared })
    }

    /// Its port on this machine.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many turns clients took so far.
    pub fn turns(&self) -> u64 {
        self.shared.turns.load(Ordering::SeqCst)
    }

    /// Cuts the connection that takes the `nth` turn from now, whichever it is; 1 is the next.
    pub fn cut(&self, nth: u64, cut: Cut) {
        *self.shared.armed() = Some((self.turns() + nth, cut));
    }

    /// Whether a cut that was asked for has not happened yet.
    pub fn is_armed(&self) -> bool {
        self.shared.armed().is_some()
    }

    /// Cuts all connections now.
    pub fn cut_all(&self) {
        for wire in self.shared.open().drain(..).filter_map(|wire| wire.upgrade()) {
            wire.end();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::SeqCst);
        self.cut_all();
        // Wakes the listener, which sees that it is over.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
    }
}

impl Shared {
    fn armed(&self) -> MutexGuard<'_, Option<(u64, Cut)>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> MutexGuard<'_, Vec<Weak<Wire>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a turn; answers whether it is the one to cut.
    fn turn(&self) -> Option<Cut> {
        let mut armed = self.armed();
        let turn = self.turns.fetch_add(1, Ordering::SeqCst) + 1;
        let (at, cut) = (*armed)?;
        (turn >= at).then(|| {
            *armed = None;
            cut
        })
    }
}

impl Wire {
    fn end(&self) {
        // Either side may have gone already.
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }
}

fn serve(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((client, _)) = listener.accept() {
        if shared.ends.load(Ordering::SeqCst) {
            return;
        }
        // A server that is down refuses its client: dropping the socket says so.
        let _ = connect(client, shared);
    }
}

fn connect(client: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    let server = TcpStream::connect(shared.server)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let wire = Arc::new(Wire { client, server, asked: AtomicBool::new(false), muted: AtomicBool::new(false) });
    shared.open().push(Arc::downgrade(&wire));
    let (there, back, counting) = (Arc::clone(&wire), wire, Arc::clone(shared));
    thread::Builder::new().name("proxy-requests".to_owned()).spawn(move || {
        pass(&there.client, &there.server, || forward(&there, &counting));
        there.end();
    })?;
    thread::Builder::new().name("proxy-replies".to_owned()).spawn(move || {
        pass(&back.server, &back.client, || {
            back.asked.store(false, Ordering::SeqCst);
            !back.muted.load(Ordering::SeqCst)
        });
        back.end();
    })?;
    Ok(())
}

/// Whether the client's words go on to the server.
fn forward(wire: &Wire, shared: &Shared) -> bool {
    if wire.asked.swap(true, Ordering::SeqCst) {
        return true;
    }
    match shared.turn() {
        None => true,
        Some(Cut::BeforeRequest) => false,
        Some(Cut::BeforeReply) => {
            wire.muted.store(true, Ordering::SeqCst);
            true
        }
    }
}

/// Hands on what one side says while `may` answers so, until a side has gone.
fn pass(mut from: &TcpStream, mut to: &TcpStream, may: impl Fn() -> bool) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length) = from.read(&mut buffer) {
        if length == 0 || !may() || to.write_all(&buffer[..length]).is_err() {
            return;
        }
    }
}
