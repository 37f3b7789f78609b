//! A task run of Orchestra that beats, and outlives its connections.

use std::ops::ControlFlow;
use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, interval, sleep_until, timeout};
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::BoxError;
use crate::gateway::Gateway;
use crate::pb::task_status_service_client::TaskStatusServiceClient;
use crate::pb::track_run_request::Frame;
use crate::pb::{
    DeliveryState, Directive, Heartbeat, Ready, TaskRunStatus, TrackRunFinish, TrackRunOpen, TrackRunOutput,
    TrackRunRequest, TrackRunResponse, TrackRunUpdate, track_run_output, track_run_response,
};
use crate::session::{Error, duration, keep_open};

const FINISH_TIMEOUT: Duration = Duration::from_secs(60);
const USUAL_LEASE: Duration = Duration::from_secs(30);
const USUAL_BEAT: Duration = Duration::from_secs(10);

/// Reports on a run while it is tracked.
#[derive(Clone)]
pub struct Run(UnboundedSender<Frame>);

impl Run {
    /// Reports a message; the status stays RUNNING.
    pub fn message(&self, message: impl Into<String>) {
        self.send(Frame::Update(TrackRunUpdate {
            message: message.into(),
            ..Default::default()
        }));
    }

    /// Sets an output. Names have letters, `_` and `-`.
    pub fn set_output(&self, name: &str, json: impl Into<String>) {
        let output = Some(track_run_output::Output::ValueJson(json.into()));
        self.send(Frame::Output(TrackRunOutput {
            name: name.into(),
            output,
        }));
    }

    fn send(&self, frame: Frame) {
        // Where nobody takes it any more, the run's future is about to be dropped.
        let _ = self.0.send(frame);
    }
}

/// Reports RUNNING, beats while `work` is at work, and reports SUCCEEDED, or FAILED
/// with its error. The future of `work` is dropped when nobody waits for the run any
/// more; it must not block the thread that beats.
pub async fn track_run(
    client: TaskStatusServiceClient<Gateway>,
    open: TrackRunOpen,
    work: impl AsyncFnOnce(Run) -> Result<(), BoxError>,
) -> Result<(), BoxError> {
    let (sender, frames) = mpsc::unbounded_channel();
    let (ready, is_ready) = oneshot::channel();
    let (lease, lease_end) = watch::channel(Instant::now() + USUAL_LEASE);
    let mut tracker = Tracker {
        client,
        open,
        frames,
        ready: Some(ready),
        lease,
        lease_duration: USUAL_LEASE,
        frame_count: 0,
        unanswered: Vec::new(),
        finish_id: String::new(),
        is_stored: false,
    };
    let tracked = keep_open(async || tracker.carry().await);
    tokio::pin!(tracked);

    let run = Run(sender);
    let worked = async {
        // Fails only when tracking does, which ends this.
        let _ = is_ready.await;
        work(run.clone()).await
    };
    let outcome = tokio::select! {
        ended = &mut tracked => return Ok(ended?),
        () = run_out(lease_end) => return Err(Error::Lost.into()),
        outcome = worked => outcome,
    };
    let (status, message) = match &outcome {
        Ok(()) => (TaskRunStatus::Succeeded, String::new()),
        Err(error) => (TaskRunStatus::Failed, error.to_string()),
    };
    run.send(Frame::Finish(TrackRunFinish {
        status: status.into(),
        message,
    }));
    timeout(FINISH_TIMEOUT, tracked)
        .await
        .map_err(|_| Error::NotReported("the gateway is away".into()))??;
    outcome
}

async fn run_out(lease_end: watch::Receiver<Instant>) {
    loop {
        let end = *lease_end.borrow();
        if end <= Instant::now() {
            return;
        }
        sleep_until(end).await;
    }
}

/// Carries the streams of a run, one after the other.
struct Tracker {
    client: TaskStatusServiceClient<Gateway>,
    /// With the session, once there is one.
    open: TrackRunOpen,
    frames: UnboundedReceiver<Frame>,
    ready: Option<oneshot::Sender<()>>,
    lease: watch::Sender<Instant>,
    lease_duration: Duration,
    frame_count: u64,
    /// What the gateway may not have; it is sent again with the session.
    unanswered: Vec<TrackRunRequest>,
    finish_id: String,
    /// The outcome is on the gateway's disk, and will be delivered.
    is_stored: bool,
}

impl Tracker {
    async fn carry(&mut self) -> Result<ControlFlow<()>, Error> {
        match self.carry_stream().await {
            Err(Error::Rpc(_)) if self.is_stored => Ok(ControlFlow::Break(())),
            ended => ended,
        }
    }

    async fn carry_stream(&mut self) -> Result<ControlFlow<()>, Error> {
        let (requests, outgoing) = mpsc::unbounded_channel();
        // Dropped to half-close. Why a frame could not be sent, receiving tells.
        let mut requests = Some(requests);
        let send = |requests: &Option<UnboundedSender<_>>, request| {
            if let Some(requests) = requests {
                let _ = requests.send(request);
            }
        };
        send(
            &requests,
            TrackRunRequest {
                frame: Some(Frame::Open(self.open.clone())),
                ..Default::default()
            },
        );
        let mut answers = self
            .client
            .track_run(UnboundedReceiverStream::new(outgoing))
            .await?
            .into_inner();
        // Nothing is sent before the gateway is ready.
        let mut is_ready = false;
        let mut beat = interval(USUAL_BEAT);
        loop {
            tokio::select! {
                Some(frame) = self.frames.recv(), if is_ready => {
                    let request = self.number(frame);
                    self.unanswered.push(request.clone());
                    send(&requests, request);
                }
                _ = beat.tick(), if is_ready => {
                    send(&requests, TrackRunRequest { frame: Some(Frame::Heartbeat(Heartbeat {})), ..Default::default() });
                }
                answer = answers.message() => {
                    let Some(answer) = answer? else {
                        return Ok(if self.is_stored { ControlFlow::Break(()) } else { ControlFlow::Continue(()) });
                    };
                    if let Some(track_run_response::Frame::Ready(ready)) = &answer.frame {
                        self.resume(ready);
                        self.unanswered.iter().for_each(|request| send(&requests, request.clone()));
                        is_ready = true;
                        beat = interval(duration(ready.heartbeat_interval, USUAL_BEAT));
                    }
                    self.lease.send_replace(Instant::now() + self.lease_duration);
                    if self.take(answer)? {
                        requests = None;
                    }
                }
            }
        }
    }

    fn number(&mut self, frame: Frame) -> TrackRunRequest {
        self.frame_count += 1;
        let request_id = self.frame_count.to_string();
        if matches!(frame, Frame::Finish(_)) {
            self.finish_id.clone_from(&request_id);
        }
        TrackRunRequest {
            request_id,
            frame: Some(frame),
        }
    }

    fn resume(&mut self, ready: &Ready) {
        if let Some(first) = self.ready.take() {
            let _ = first.send(());
        }
        self.open.session_id.clone_from(&ready.session_id);
        self.lease_duration = duration(ready.lease_duration, USUAL_LEASE);
        self.unanswered
            .retain(|request| !ready.accepted_request_ids.contains(&request.request_id));
        self.is_stored |= ready.accepted_request_ids.contains(&self.finish_id);
    }

    /// Takes a frame of the gateway, and tells whether the outcome is settled.
    fn take(&mut self, TrackRunResponse { request_id, frame }: TrackRunResponse) -> Result<bool, Error> {
        let is_finish = !request_id.is_empty() && request_id == self.finish_id;
        match frame {
            Some(track_run_response::Frame::Ready(_)) => return Ok(self.is_stored),
            Some(track_run_response::Frame::Directive(notice)) => {
                if notice.directive() == Directive::Cancel && !self.is_stored {
                    return Err(Error::Cancelled(notice.cause()));
                }
            }
            Some(track_run_response::Frame::Failure(failure)) => {
                if is_finish {
                    return Err(Error::NotReported(failure.message));
                }
                eprintln!("taskgate refused a frame: {}", failure.message);
                self.answered(&request_id);
            }
            Some(track_run_response::Frame::Receipt(receipt)) => {
                self.answered(&request_id);
                self.is_stored |= is_finish;
                // The outcome is answered twice: when it is stored, and when Orchestra has it.
                return Ok(is_finish && receipt.state() != DeliveryState::Stored);
            }
            Some(track_run_response::Frame::KeepAlive(_)) | None => {}
        }
        Ok(false)
    }

    fn answered(&mut self, request_id: &str) {
        self.unanswered.retain(|request| request.request_id != request_id);
    }
}
