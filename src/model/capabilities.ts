/** What the gateway can do with an upstream, and what that upstream has no way to do. */
export interface UpstreamCapabilities {
  /** Tasks are taken from it. */
  pull: boolean;
  /** The gateway learns that a task was cancelled. */
  cancelDetection: boolean;
  /** A task that was taken can be given back before its own timer ends. */
  handBack: boolean;
  /** Progress reaches it. */
  progress: boolean;
}
