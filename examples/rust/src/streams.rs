//! A task and a worker, as one would write them with `track_run` and `worker`.

use std::time::Duration;

use prost_types::value::Kind;
use prost_types::{Struct, Value};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use taskgate_example::BoxError;
use taskgate_example::gateway::Gateway;
use taskgate_example::pb::executor_service_client::ExecutorServiceClient;
use taskgate_example::pb::task_status_service_client::TaskStatusServiceClient;
use taskgate_example::pb::{OnLost, Task, TrackRunOpen};
use taskgate_example::track_run::track_run;
use taskgate_example::worker;

/// A task run that beats: three messages, then SUCCEEDED.
pub async fn track(gateway: Gateway, task_run_id: String) -> Result<(), BoxError> {
    let open = TrackRunOpen {
        task_run_id,
        ..Default::default()
    };
    track_run(TaskStatusServiceClient::new(gateway), open, async |run| {
        for part in 1..=3 {
            run.message(format!("part {part} of 3"));
            sleep(Duration::from_secs(1)).await;
        }
        Ok(())
    })
    .await?;
    println!("finished");
    Ok(())
}

/// A task that will be killed: the gateway says FAILED for it when its heartbeats
/// stop.
pub async fn die(gateway: Gateway, task_run_id: String) -> Result<(), BoxError> {
    let open = TrackRunOpen {
        task_run_id,
        on_lost: OnLost::Fail.into(),
        ..Default::default()
    };
    track_run(TaskStatusServiceClient::new(gateway), open, async |_run| {
        println!("tracking");
        sleep(Duration::from_secs(300)).await;
        Ok(())
    })
    .await
}

/// Does so many tasks of a definition, or stops at SIGTERM.
pub async fn work(gateway: Gateway, definition: String, limit: usize) -> Result<(), BoxError> {
    let mut terminated = signal(SignalKind::terminate())?;
    let options = worker::Options {
        definitions: vec![definition],
        max_in_flight: 8,
        limit: Some(limit),
    };
    let stop = async move {
        terminated.recv().await;
    };
    let done = worker::work(ExecutorServiceClient::new(gateway), options, stop, square).await?;
    println!("done {done}");
    Ok(())
}

async fn square(task: Task) -> Result<Value, String> {
    let number = number_of(&task).ok_or("params has no number")?;
    let fields = [("square".to_owned(), Value::from(number * number))].into();
    Ok(Value {
        kind: Some(Kind::StructValue(Struct { fields })),
    })
}

fn number_of(task: &Task) -> Option<f64> {
    let Some(Kind::StructValue(params)) = &task.params.as_ref()?.kind else {
        return None;
    };
    match params.fields.get("number")?.kind {
        Some(Kind::NumberValue(number)) => Some(number),
        _ => None,
    }
}
