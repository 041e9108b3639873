//! Runs the driver's half of a connection and reports when it sleeps.
//!
//! Invariant: between the moment in which somebody hands the driver a request and the moment in
//! which it has sent the request, the watch does not look quiet: handing over wakes the driver, and
//! its waker is ours.
//! Left out: the requests.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::{AsyncMessage, Connection, Notification};

use super::Watch;

/// The driver's half of a connection, as a future that ends with the session.
pub(crate) struct Driver<S, T> {
    connection: Connection<S, T>,
    watch: Arc<Watch>,
    alarm: Arc<Alarm>,
    waker: Waker,
    /// What is done with notifications.
    notify: Option<Box<dyn FnMut(Notification) + Send>>,
}

/// Notes each wake before it passes it on.
struct Alarm {
    watch: Arc<Watch>,
    task: Mutex<Waker>,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.watch.woken();
        self.task.lock().wake_by_ref();
    }
}

impl<S, T> Driver<S, T> {
    pub(crate) fn new(
        connection: Connection<S, T>,
        watch: Arc<Watch>,
        notify: Option<Box<dyn FnMut(Notification) + Send>>,
    ) -> Self {
        let task = Mutex::new(Waker::noop().clone());
        let alarm = Arc::new(Alarm { watch: Arc::clone(&watch), task });
        let waker = Waker::from(Arc::clone(&alarm));
        Self { connection, watch, alarm, waker, notify }
    }
}

impl<S, T> Future for Driver<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        {
            let mut task = this.alarm.task.lock();
            if !task.will_wake(cx.waker()) {
                task.clone_from(cx.waker());
            }
        }
        this.watch.polling();
        let mut cx = Context::from_waker(&this.waker);
        loop {
            match this.connection.poll_message(&mut cx) {
                Poll::Pending => break,
                Poll::Ready(Some(Ok(AsyncMessage::Notification(notification)))) => {
                    if let Some(notify) = &mut this.notify {
                        notify(notification);
                    }
                }
                Poll::Ready(Some(Ok(AsyncMessage::Notice(notice)))) => {
                    tracing::debug!(severity = notice.severity(), "{}", notice.message());
                }
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(%error, "session ended");
                    this.watch.ended();
                    return Poll::Ready(());
                }
                Poll::Ready(None) => {
                    this.watch.ended();
                    return Poll::Ready(());
                }
            }
        }
        this.watch.sleeps();
        Poll::Pending
    }
}

impl<S, T> Drop for Driver<S, T> {
    fn drop(&mut self) {
        self.watch.ended();
    }
}
