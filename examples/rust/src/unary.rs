//! Single calls.

use tonic_types::StatusExt;

use taskgate_example::BoxError;
use taskgate_example::gateway::{Gateway, repeat, timed};
use taskgate_example::pb::callback_service_client::CallbackServiceClient;
use taskgate_example::pb::task_status_service_client::TaskStatusServiceClient;
use taskgate_example::pb::{
    CompleteCallbackRequest, DeliveryState, JobResult, Receipt, ReportCallbackProgressRequest,
    SetOutputRequest, TaskRunStatus, UpdateTaskRequest, complete_callback_request,
    report_callback_progress_request, set_output_request,
};

/// Reports a whole task run: RUNNING, an output, SUCCEEDED.
pub async fn report(gateway: Gateway, run: &str) -> Result<(), BoxError> {
    let client = TaskStatusServiceClient::new(gateway);
    let running = UpdateTaskRequest {
        task_run_id: run.into(),
        request_id: format!("{run}-1"),
        status: TaskRunStatus::Running.into(),
        message: "loading".into(),
        ..Default::default()
    };
    let rows = SetOutputRequest {
        task_run_id: run.into(),
        request_id: format!("{run}-2"),
        name: "rows".into(),
        output: Some(set_output_request::Output::ValueJson("42".into())),
        ..Default::default()
    };
    let succeeded = UpdateTaskRequest {
        task_run_id: run.into(),
        request_id: format!("{run}-3"),
        status: TaskRunStatus::Succeeded.into(),
        ..Default::default()
    };
    let answer = repeat(async || client.clone().update_task(timed(running.clone())).await).await?;
    println!("{}", state(answer.receipt));
    let answer = repeat(async || client.clone().set_output(timed(rows.clone())).await).await?;
    println!("{}", state(answer.receipt));
    let answer = repeat(async || client.clone().update_task(timed(succeeded.clone())).await).await?;
    println!("{}", state(answer.receipt));
    Ok(())
}

/// Answers a callback of the Workflow Orchestrator.
pub async fn callback(gateway: Gateway, route: &str) -> Result<(), BoxError> {
    let client = CallbackServiceClient::new(gateway);
    let half_way = ReportCallbackProgressRequest {
        target: Some(report_callback_progress_request::Target::CallbackRoute(
            route.into(),
        )),
        progress: Some(report_callback_progress_request::Progress::Text(
            "half way".into(),
        )),
        ..Default::default()
    };
    let result = JobResult {
        job_id: "job-1".into(),
        return_code: Some(0),
        status: "successful".into(),
        output: vec!["42 rows".into()],
    };
    let complete = CompleteCallbackRequest {
        target: Some(complete_callback_request::Target::CallbackRoute(route.into())),
        payload: Some(complete_callback_request::Payload::Result(result)),
        ..Default::default()
    };
    repeat(async || {
        client
            .clone()
            .report_callback_progress(timed(half_way.clone()))
            .await
    })
    .await?;
    let answer = repeat(async || client.clone().complete_callback(timed(complete.clone())).await).await?;
    println!("{}", state(answer.receipt));
    Ok(())
}

/// Reads why a call was refused from the details of its status.
pub async fn errors(gateway: Gateway) -> Result<(), BoxError> {
    let request = UpdateTaskRequest {
        task_run_id: "not-a-uuid".into(),
        message: "hello".into(),
        ..Default::default()
    };
    let Err(status) = TaskStatusServiceClient::new(gateway)
        .update_task(timed(request))
        .await
    else {
        return Err("a task run id that is none was accepted".into());
    };
    let details = status.get_error_details();
    match details.error_info().map(|info| info.reason.as_str()) {
        Some(reason @ "INVALID_REQUEST") => {
            for violation in details
                .bad_request()
                .map(|bad| &bad.field_violations[..])
                .unwrap_or_default()
            {
                println!("reason={reason} field={}", violation.field);
            }
            Ok(())
        }
        _ => Err(status.into()),
    }
}

fn state(receipt: Option<Receipt>) -> &'static str {
    receipt
        .map_or(DeliveryState::Unspecified, |receipt| receipt.state())
        .as_str_name()
}
