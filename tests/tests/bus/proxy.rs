//! A TCP proxy in front of Redis that can swallow what the server says on some connections, which are half open then, and
//! hold back what subscribes.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

pub struct Proxy {
    port: u16,
    /// Connections that are open.
    pub open: Arc<AtomicUsize>,
    /// When each connection came, whether or not the server was there.
    pub came: Arc<Mutex<Vec<Instant>>>,
    /// What the server says on the connections that are open now goes nowhere from here on; one of each kind.
    swallow: Arc<[AtomicBool; 2]>,
    /// What subscribes waits here.
    hold: Arc<AtomicBool>,
}

/// Which of a client's connections, in the order in which it makes them.
pub const KINDS: [usize; 2] = [0, 1];

impl Proxy {
    pub fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (open, swallow) =
            (Arc::new(AtomicUsize::new(0)), Arc::new([AtomicBool::new(false), AtomicBool::new(false)]));
        let (came, hold) = <(Arc<Mutex<Vec<Instant>>>, Arc<AtomicBool>)>::default();
        let (times, counter, flags, held) = (came.clone(), open.clone(), swallow.clone(), hold.clone());
        // Ends with the test's process.
        thread::spawn(move || {
            for (number, client) in listener.incoming().enumerate() {
                times.lock().unwrap().push(Instant::now());
                // Without a server it ends at once.
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                let client = client.unwrap();
                let (from_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let held = held.clone();
                thread::spawn(move || {
                    copy(from_client, to_server, |bytes| {
                        while held.load(Ordering::SeqCst) && bytes.windows(9).any(|word| word == b"SUBSCRIBE") {
                            thread::sleep(Duration::from_millis(5));
                        }
                        true
                    });
                });
                let (counter, flags, kind) = (counter.clone(), flags.clone(), number % 2);
                counter.fetch_add(1, Ordering::SeqCst);
                // Only what was made before is cut off.
                let cut = flags[kind].load(Ordering::SeqCst);
                thread::spawn(move || {
                    copy(server, client, |_| cut || !flags[kind].load(Ordering::SeqCst));
                    counter.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Proxy { port, open, came, swallow, hold }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Holds back what subscribes, or no longer.
    pub fn hold_subscriptions(&self, hold: bool) {
        self.hold.store(hold, Ordering::SeqCst);
    }

    /// Cuts off one kind of the connections that are open.
    pub fn cut_off(&self, kind: usize) {
        self.swallow[kind].store(true, Ordering::SeqCst);
    }
}

/// Copies what `passes`.
fn copy(mut from: TcpStream, mut to: TcpStream, passes: impl Fn(&[u8]) -> bool) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(len) = from.read(&mut bytes) {
        if len == 0 || (passes(&bytes[..len]) && to.write_all(&bytes[..len]).is_err()) {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}
