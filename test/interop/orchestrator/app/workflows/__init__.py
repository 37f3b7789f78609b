from orchestrator.core.workflows import LazyWorkflowInstance

NAMES = ["one_callback", "slow_submit", "two_callbacks"]

for name in NAMES:
    LazyWorkflowInstance("workflows.callbacks", name)
