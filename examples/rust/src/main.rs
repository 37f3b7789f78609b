//! The gateway from Rust, by tonic.

mod streams;
mod unary;

use taskgate_example::{BoxError, gateway};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let gateway = gateway::connect(
        &variable("TASKGATE_ADDRESS")?,
        &variable("TASKGATE_TOKEN").unwrap_or_default(),
    )?;
    match std::env::args().nth(1).as_deref() {
        Some("report") => unary::report(gateway, &variable("ORCHESTRA_TASK_RUN_ID")?).await,
        Some("errors") => unary::errors(gateway).await,
        Some("callback") => unary::callback(gateway, &variable("CALLBACK_ROUTE")?).await,
        Some("track") => streams::track(gateway, variable("ORCHESTRA_TASK_RUN_ID")?).await,
        Some("die") => streams::die(gateway, variable("ORCHESTRA_TASK_RUN_ID")?).await,
        Some("work") => {
            streams::work(
                gateway,
                variable("AIDBOX_DEFINITION")?,
                variable("AIDBOX_TASKS")?.parse()?,
            )
            .await
        }
        _ => Err("usage: taskgate-example report | errors | callback | track | die | work".into()),
    }
}

fn variable(name: &str) -> Result<String, BoxError> {
    std::env::var(name).map_err(|error| format!("{name}: {error}").into())
}
