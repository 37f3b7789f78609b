//! A worker for tasks of Aidbox, which outlives its connections.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::Duration;

use prost_types::Value;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::interval;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Code;

use crate::gateway::Gateway;
use crate::pb::executor_service_client::ExecutorServiceClient;
use crate::pb::work_request::Frame;
use crate::pb::{
    Directive, Ready, Task, TaskAttempt, WorkFail, WorkHeartbeat, WorkRequest, WorkResponse, WorkStart,
    WorkSubscribe, WorkSucceed, work_fail, work_response, work_succeed,
};
use crate::session::{Error, duration, keep_open};

const USUAL_BEAT: Duration = Duration::from_secs(10);

/// Which tasks to do, and how many.
pub struct Options {
    pub definitions: Vec<String>,
    pub max_in_flight: i32,
    /// After how many tasks to end.
    pub limit: Option<usize>,
}

/// Does tasks until `stop` is ready, or the limit is reached, and all that has begun
/// is done. Resolves with how many were done. What `handle` returns is the task's
/// result, or why the attempt has failed; its future is dropped when nobody waits
/// for it any more.
pub async fn work<H, F>(
    client: ExecutorServiceClient<Gateway>,
    options: Options,
    stop: impl Future<Output = ()>,
    handle: H,
) -> Result<usize, Error>
where
    H: Fn(Task) -> F,
    F: Future<Output = Result<Value, String>> + Send + 'static,
{
    let mut session = WorkSession {
        client,
        options,
        handle,
        is_draining: false,
        done: 0,
        session_id: String::new(),
        attempts: HashMap::new(),
        handlers: JoinSet::new(),
    };
    let mut stop = Box::pin(stop);
    keep_open(async || session.carry(&mut stop).await).await?;
    Ok(session.done)
}

struct Attempt {
    task: Task,
    /// A start or an outcome that the gateway has not acknowledged.
    frame: Option<WorkRequest>,
    /// Set once it has begun.
    handler: Option<AbortHandle>,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(handler) = &self.handler {
            handler.abort();
        }
    }
}

/// Carries the streams of a worker, one after the other.
struct WorkSession<H> {
    client: ExecutorServiceClient<Gateway>,
    options: Options,
    handle: H,
    is_draining: bool,
    done: usize,
    session_id: String,
    /// By `exec_id`.
    attempts: HashMap<String, Attempt>,
    handlers: JoinSet<Result<Value, String>>,
}

impl<H, F> WorkSession<H>
where
    H: Fn(Task) -> F,
    F: Future<Output = Result<Value, String>> + Send + 'static,
{
    async fn carry(
        &mut self,
        stop: &mut (impl Future<Output = ()> + Unpin),
    ) -> Result<ControlFlow<()>, Error> {
        match self.carry_stream(stop).await {
            Err(Error::Rpc(status)) if status.code() == Code::NotFound && !self.session_id.is_empty() => {
                // The session is over, and what it held is another's.
                self.session_id.clear();
                self.attempts.clear();
                Ok(ControlFlow::Continue(()))
            }
            ended => ended,
        }
    }

    async fn carry_stream(
        &mut self,
        stop: &mut (impl Future<Output = ()> + Unpin),
    ) -> Result<ControlFlow<()>, Error> {
        let (requests, outgoing) = mpsc::unbounded_channel();
        let mut outbound = Outbound(Some(requests));
        outbound.send(self.subscribe(self.session_id.clone()));
        let mut answers = self
            .client
            .work(UnboundedReceiverStream::new(outgoing))
            .await?
            .into_inner();
        // Nothing is sent before the gateway is ready.
        let mut is_ready = false;
        let mut beat = interval(USUAL_BEAT);
        loop {
            if is_ready && self.is_drained() {
                outbound.half_close();
            }
            tokio::select! {
                () = &mut *stop, if is_ready && !self.is_draining => self.drain(&outbound),
                Some(joined) = self.handlers.join_next_with_id(), if is_ready => self.report(joined, &outbound),
                _ = beat.tick(), if is_ready => outbound.send(self.heartbeat()),
                answer = answers.message() => match answer? {
                    Some(answer) => {
                        if let Some(work_response::Frame::Ready(ready)) = &answer.frame {
                            is_ready = true;
                            beat = interval(duration(ready.heartbeat_interval, USUAL_BEAT));
                        }
                        self.take(answer, &outbound);
                    }
                    None if self.is_drained() => return Ok(ControlFlow::Break(())),
                    // The gateway goes away, and had nothing of ours any more.
                    None => return Ok(ControlFlow::Continue(())),
                },
            }
        }
    }

    fn subscribe(&self, session_id: String) -> WorkRequest {
        let max_in_flight = if self.is_draining {
            0
        } else {
            self.options.max_in_flight
        };
        unnumbered(Frame::Subscribe(WorkSubscribe {
            task_definitions: self.options.definitions.clone(),
            max_in_flight: Some(max_in_flight),
            session_id,
            ..Default::default()
        }))
    }

    /// Names the tasks that are at work. Without any it still says that the worker is
    /// there and wants some.
    fn heartbeat(&self) -> WorkRequest {
        let at_work = self.attempts.values().filter(|attempt| attempt.handler.is_some());
        let tasks = at_work.map(|Attempt { task, .. }| TaskAttempt {
            id: task.id.clone(),
            exec_id: task.exec_id.clone(),
        });
        unnumbered(Frame::Heartbeat(WorkHeartbeat {
            tasks: tasks.collect(),
        }))
    }

    fn take(&mut self, WorkResponse { request_id, frame }: WorkResponse, outbound: &Outbound) {
        match frame {
            Some(work_response::Frame::Ready(ready)) => self.resume(ready, outbound),
            Some(work_response::Frame::Task(task)) => self.start(task, outbound),
            Some(work_response::Frame::Ack(_)) => self.acknowledged(&request_id, outbound),
            Some(work_response::Frame::Failure(failure)) => {
                eprintln!("taskgate refused the frame {request_id:?}: {}", failure.message);
                self.attempts.remove(exec_id_of(&request_id));
            }
            Some(work_response::Frame::Directive(notice)) if notice.directive() == Directive::Cancel => {
                self.attempts.remove(&notice.exec_id);
            }
            _ => {}
        }
    }

    fn resume(&mut self, ready: Ready, outbound: &Outbound) {
        self.session_id = ready.session_id;
        let unanswered: Vec<_> = self
            .attempts
            .values()
            .filter_map(|attempt| attempt.frame.clone())
            .collect();
        for request in unanswered {
            if ready.accepted_request_ids.contains(&request.request_id) {
                self.acknowledged(&request.request_id, outbound);
            } else {
                outbound.send(request);
            }
        }
    }

    fn start(&mut self, task: Task, outbound: &Outbound) {
        if self.attempts.contains_key(&task.exec_id) {
            // Pushed again after a break; its start is on its way.
            return;
        }
        let start = WorkRequest {
            request_id: format!("start {}", task.exec_id),
            frame: Some(Frame::Start(WorkStart {
                id: task.id.clone(),
                exec_id: task.exec_id.clone(),
            })),
        };
        outbound.send(start.clone());
        self.attempts.insert(
            task.exec_id.clone(),
            Attempt {
                task,
                frame: Some(start),
                handler: None,
            },
        );
    }

    fn acknowledged(&mut self, request_id: &str, outbound: &Outbound) {
        let Some(attempt) = self.attempts.get_mut(exec_id_of(request_id)) else {
            return;
        };
        // An outcome is acknowledged twice: when it is stored, which is enough, and when
        // Aidbox has it.
        match attempt.frame.take_if(|frame| frame.request_id == request_id) {
            Some(WorkRequest {
                frame: Some(Frame::Start(_)),
                ..
            }) => {
                attempt.handler = Some(self.handlers.spawn((self.handle)(attempt.task.clone())));
            }
            Some(_) => {
                self.attempts.remove(exec_id_of(request_id));
                self.done += 1;
                if Some(self.done) == self.options.limit {
                    self.drain(outbound);
                }
            }
            None => {}
        }
    }

    /// Reports what a handler returned, or that it panicked.
    fn report(&mut self, joined: Result<(Id, Result<Value, String>), JoinError>, outbound: &Outbound) {
        let (handler, result) = joined.unwrap_or_else(|error| (error.id(), Err(error.to_string())));
        let is_it =
            |attempt: &&mut Attempt| attempt.handler.as_ref().is_some_and(|each| each.id() == handler);
        // Without one nobody waits for the result any more.
        let Some(attempt) = self.attempts.values_mut().find(is_it) else {
            return;
        };
        let (id, exec_id) = (attempt.task.id.clone(), attempt.task.exec_id.clone());
        let request_id = format!("outcome {exec_id}");
        let frame = match result {
            Ok(value) => Frame::Succeed(WorkSucceed {
                id,
                exec_id,
                outcome: Some(work_succeed::Outcome::Result(value)),
            }),
            Err(why) => Frame::Fail(WorkFail {
                id,
                exec_id,
                reason: Some(work_fail::Reason::Error(why.into())),
            }),
        };
        let outcome = WorkRequest {
            request_id,
            frame: Some(frame),
        };
        outbound.send(outcome.clone());
        attempt.frame = Some(outcome);
    }

    fn drain(&mut self, outbound: &Outbound) {
        self.is_draining = true;
        outbound.send(self.subscribe(String::new()));
    }

    fn is_drained(&self) -> bool {
        self.is_draining && self.attempts.is_empty()
    }
}

/// What is sent on one stream. Why a frame could not be sent, receiving tells.
struct Outbound(Option<UnboundedSender<WorkRequest>>);

impl Outbound {
    fn send(&self, request: WorkRequest) {
        if let Some(requests) = &self.0 {
            let _ = requests.send(request);
        }
    }

    fn half_close(&mut self) {
        self.0 = None;
    }
}

fn unnumbered(frame: Frame) -> WorkRequest {
    WorkRequest {
        request_id: String::new(),
        frame: Some(frame),
    }
}

fn exec_id_of(request_id: &str) -> &str {
    request_id.split_once(' ').map_or("", |(_, exec_id)| exec_id)
}
