//! What tracked runs and workers have in common: a stream that is opened again.

use std::fmt;
use std::ops::ControlFlow;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::Status;

use crate::gateway::is_broken;
use crate::pb::ErrorReason;

/// Why a run or a worker has ended.
#[derive(Debug)]
pub enum Error {
    /// Nobody waits for the result any more.
    Cancelled(ErrorReason),
    /// The gateway was not heard for a whole lease, and may have reported the task as
    /// failed.
    Lost,
    /// The outcome was refused, or could not be reported in time.
    NotReported(String),
    Rpc(Status),
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Cancelled(cause) => write!(formatter, "the task is over: {}", cause.as_str_name()),
            Error::Lost => write!(formatter, "the gateway was not heard for a whole lease"),
            Error::NotReported(why) => write!(formatter, "the outcome is not reported: {why}"),
            Error::Rpc(status) => status.fmt(formatter),
        }
    }
}

impl std::error::Error for Error {}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Error::Rpc(status)
    }
}

/// Carries one stream after the other, until one breaks the loop or fails for good.
pub async fn keep_open(mut carry: impl AsyncFnMut() -> Result<ControlFlow<()>, Error>) -> Result<(), Error> {
    const SHORTEST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(5);
    let mut pause = SHORTEST;
    loop {
        let opened = Instant::now();
        match carry().await {
            Ok(ControlFlow::Break(())) => return Ok(()),
            Ok(ControlFlow::Continue(())) => {}
            Err(Error::Rpc(status)) if is_broken(&status) => {}
            Err(error) => return Err(error),
        }
        if opened.elapsed() > LONGEST {
            pause = SHORTEST;
        }
        sleep(pause).await;
        pause = LONGEST.min(pause * 2);
    }
}

/// A duration of the contract; one that is not set or not positive is `otherwise`.
pub fn duration(given: Option<prost_types::Duration>, otherwise: Duration) -> Duration {
    given
        .and_then(|given| given.try_into().ok())
        .filter(|given: &Duration| !given.is_zero())
        .unwrap_or(otherwise)
}
