fn main() -> std::io::Result<()> {
    let protos =
        ["callback", "executor", "task_status"].map(|name| format!("../../proto/taskgate/v1/{name}.proto"));
    tonic_prost_build::configure()
        .build_server(false)
        .build_transport(false)
        .compile_protos(&protos, &["../../proto".into()])
}
