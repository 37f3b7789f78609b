//! What a client of the gateway's streams has to do: beat, and open a broken stream
//! again with its session. Meant to be copied.

pub mod gateway;
pub mod session;
pub mod track_run;
pub mod worker;

/// What tonic-prost-build makes of the contract.
pub mod pb {
    tonic::include_proto!("taskgate.v1");
}

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
