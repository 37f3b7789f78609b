//! The connection to the gateway.

use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

use crate::BoxError;

/// Shows the token with every call.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

pub type Gateway = InterceptedService<Channel, Bearer>;

/// Connects with the first call, and again whenever the connection is lost.
pub fn connect(address: &str, token: &str) -> Result<Gateway, BoxError> {
    let channel = Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(Duration::from_secs(5))
        .http2_keep_alive_interval(Duration::from_secs(20))
        .connect_lazy();
    let bearer = match token {
        "" => None,
        _ => Some(format!("Bearer {token}").parse()?),
    };
    Ok(InterceptedService::new(channel, Bearer(bearer)))
}

/// Makes a unary call again while the gateway is not there. What changes something
/// has a `request_id`, so that this is safe also when only the answer was lost.
pub async fn repeat<T>(call: impl AsyncFn() -> Result<Response<T>, Status>) -> Result<T, Status> {
    let mut pause = Duration::from_millis(200);
    for _ in 0..4 {
        match call().await {
            // A call that took its whole time is `Cancelled`, by tonic itself.
            Err(status) if is_broken(&status) && status.code() != Code::Cancelled => {
                tokio::time::sleep(pause).await
            }
            answer => return answer.map(Response::into_inner),
        }
        pause *= 2;
    }
    call().await.map(Response::into_inner)
}

/// Whether the gateway is not there, or was there no more. What the gateway itself
/// says has no source; a connection that broke has.
pub fn is_broken(status: &Status) -> bool {
    status.code() == Code::Unavailable || std::error::Error::source(status).is_some()
}

pub fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(Duration::from_secs(30));
    request
}
