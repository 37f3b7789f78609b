{{- define "taskgate.labels" -}}
app.kubernetes.io/name: taskgate
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "taskgate.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end }}

{{- /* The pod, in each mode. */ -}}
{{- define "taskgate.pod" -}}
# Neither container speaks to Kubernetes: a token that is not there cannot be stolen.
automountServiceAccountToken: false
# Otherwise every Service of the namespace would be told in variables, one named taskgate
# as TASKGATE_PORT and the like, beside the settings.
enableServiceLinks: false
{{- if eq .Values.mode "shared" }}
# {{ .Values.drainTimeoutSeconds }} s for the gateway (TASKGATE_DRAIN_TIMEOUT), and 5 s of reserve.
terminationGracePeriodSeconds: {{ add .Values.drainTimeoutSeconds 5 }}
{{- else }}
# One countdown for the whole pod: {{ .Values.worker.stopSeconds }} s for the worker, which is told first, then
# {{ .Values.drainTimeoutSeconds }} s for the gateway (TASKGATE_DRAIN_TIMEOUT), and 5 s of reserve. When it is used up,
# what still runs has 2 s left.
terminationGracePeriodSeconds: {{ add .Values.worker.stopSeconds .Values.drainTimeoutSeconds 5 }}
{{- end }}
securityContext:
  # The kubelet refuses an image that would run as root.
  runAsNonRoot: true
  # The group that owns the volumes. Both containers are in it, and it is all they share:
  # the socket is for this group, and so are the files of the Secret.
  fsGroup: 2000
  # No walk over the whole outbox at each start.
  fsGroupChangePolicy: OnRootMismatch
  # The calls of the kernel that the runtime's own list allows; without it, all.
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if eq .Values.mode "shared" }}
containers:
  {{- include "taskgate.gateway" . | nindent 2 }}
{{- else }}
initContainers:
  {{- include "taskgate.gateway" . | nindent 2 }}
containers:
  {{- include "taskgate.worker" . | nindent 2 }}
{{- end }}
volumes:
  {{- if ne .Values.mode "shared" }}
  # The directory of the socket. Empty at the start, so that no old socket is in the way.
  - name: socket
    emptyDir:
      sizeLimit: 1Mi
  # The worker's own.
  - name: tmp
    emptyDir:
      sizeLimit: {{ .Values.worker.tmpSize }}
  # The outbox. On the node's disk, not in memory: it survives a crash of the gateway and
  # of the node, and goes with the pod. A worker that must know waits for DELIVERED.
  - name: outbox
    emptyDir:
      sizeLimit: {{ .Values.outbox.volumeSize }}
  {{- else }}
  # The outbox outlives the pod.
  - name: outbox
    persistentVolumeClaim:
      claimName: {{ .Release.Name }}
  - name: tls
    secret:
      secretName: {{ .Values.tlsSecretName }}
      # For the group alone.
      defaultMode: 0440
  {{- end }}
  - name: secrets
    secret:
      secretName: {{ .Values.secretName }}
      # For the group alone; and mounted into the gateway alone, so not for the worker.
      defaultMode: 0440
{{- end }}

{{- define "taskgate.gateway" -}}
- name: taskgate
  image: {{ include "taskgate.image" . }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  {{- if ne .Values.mode "shared" }}
  # This makes an init container a sidecar: the worker starts once the startup probe below
  # has succeeded, and the gateway is stopped when the worker has ended. It does not keep
  # a Job from completing.
  restartPolicy: Always
  {{- end }}
  args: ["serve"]
  env:
    {{- if eq .Values.mode "shared" }}
    # Beyond this machine it does not start without TLS and a token.
    - name: TASKGATE_LISTEN
      value: "0.0.0.0:7450"
    - name: TASKGATE_TLS_CERT
      value: /run/secrets/tls/tls.crt
    - name: TASKGATE_TLS_KEY
      value: /run/secrets/tls/tls.key
    - name: TASKGATE_AUTH_TOKEN_FILE
      value: /run/secrets/taskgate/auth-token
    - name: TASKGATE_ADMIN_TOKEN_FILE
      value: /run/secrets/taskgate/admin-token
    {{- else }}
    # A socket, which only those reach who have its directory: no port, no token. It is for
    # the gateway's user and the group (0660), which the directory hands on to it (fsGroup).
    - name: TASKGATE_LISTEN
      value: unix:/run/taskgate/taskgate.sock
    {{- end }}
    # Probes and metrics, and nothing else. The kubelet asks at the pod's address, not on
    # loopback; the NetworkPolicy says who else may.
    - name: TASKGATE_OPS_LISTEN
      value: "0.0.0.0:7451"
    # A directory of the volume: the gateway makes it for itself alone (0700), which it
    # cannot do with the volume's own.
    - name: TASKGATE_DATA_DIR
      value: /var/lib/taskgate/outbox
    # Beyond the volume's size the kubelet would evict the pod and the reports with it;
    # at this size of what waits for one upstream the gateway refuses more.
    - name: TASKGATE_OUTBOX_MAX_BYTES
      value: {{ .Values.outbox.maxBytes | quote }}
    # The process is not told the grace period.
    - name: TASKGATE_DRAIN_TIMEOUT
      value: {{ printf "%ds" (int .Values.drainTimeoutSeconds) }}
    # What "kubectl describe pod" shows of its end: what is not delivered.
    - name: TASKGATE_TERMINATION_LOG
      value: /dev/termination-log
    {{- if .Values.upstreams.orchestra.enabled }}
    # Files, not variables: a variable is in every dump of the process and of the pod, and
    # does not change when the Secret does.
    - name: ORCHESTRA_API_KEY_FILE
      value: /run/secrets/taskgate/orchestra-api-key
    {{- with .Values.upstreams.orchestra.webhookUrl }}
    - name: ORCHESTRA_WEBHOOK_URL
      value: {{ . | quote }}
    {{- end }}
    {{- end }}
    {{- with .Values.upstreams.orchestrator.urls }}
    - name: TASKGATE_ORCHESTRATOR_URL
      value: {{ join "," . | quote }}
    {{- if $.Values.upstreams.orchestrator.hasToken }}
    - name: TASKGATE_ORCHESTRATOR_TOKEN_FILE
      value: /run/secrets/taskgate/orchestrator-token
    {{- end }}
    {{- end }}
    {{- if .Values.upstreams.aidbox.url }}
    - name: TASKGATE_AIDBOX_URL
      value: {{ .Values.upstreams.aidbox.url | quote }}
    - name: TASKGATE_AIDBOX_CLIENT_ID
      value: {{ .Values.upstreams.aidbox.clientId | quote }}
    - name: TASKGATE_AIDBOX_CLIENT_SECRET_FILE
      value: /run/secrets/taskgate/aidbox-client-secret
    {{- end }}
    {{- with .Values.env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports:
    {{- if eq .Values.mode "shared" }}
    - name: grpc
      containerPort: 7450
    {{- end }}
    - name: ops
      containerPort: 7451
  # It listens and has opened its outbox. No probe asks an upstream: a pod must not go
  # down with Orchestra. A damaged outbox is read through first, so it has two minutes.
  startupProbe:
    httpGet:
      path: /startupz
      port: 7451
    periodSeconds: 1
    timeoutSeconds: 2
    failureThreshold: 120
  # It can answer at all. A minute, because a restart costs more than a pause.
  livenessProbe:
    httpGet:
      path: /livez
      port: 7451
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 6
  # It takes calls; not while it drains.
  readinessProbe:
    httpGet:
      path: /readyz
      port: 7451
    periodSeconds: 5
    timeoutSeconds: 2
  # No preStop hook: on a sidecar it runs when the pod begins to end, while the worker is
  # still at work, and a gateway that it ends is not started again.
  # What the log says last, where the process could not write it itself.
  terminationMessagePolicy: FallbackToLogsOnError
  securityContext:
    # The user of the image. Another one would find no cache of compiled files.
    runAsUser: 65532
    runAsGroup: 65532
    # No program may give it more rights than it has.
    allowPrivilegeEscalation: false
    privileged: false
    # It writes to its volumes only.
    readOnlyRootFilesystem: true
    # It needs none: its ports are above 1024.
    capabilities:
      drop: ["ALL"]
  resources:
    {{- toYaml .Values.resources | nindent 4 }}
  volumeMounts:
    {{- if eq .Values.mode "shared" }}
    - name: tls
      mountPath: /run/secrets/tls
      readOnly: true
    {{- else }}
    - name: socket
      mountPath: /run/taskgate
    {{- end }}
    - name: outbox
      mountPath: /var/lib/taskgate
    # The directory, not single files of it (subPath): those would never be renewed.
    - name: secrets
      mountPath: /run/secrets/taskgate
      readOnly: true
{{- end }}

{{- define "taskgate.worker" -}}
- name: worker
  image: {{ .Values.worker.image }}
  {{- with .Values.worker.command }}
  command:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.worker.args }}
  args:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  env:
    # For gRPC clients as it is, and for "taskgate run". The gateway already serves.
    - name: TASKGATE_GATEWAY
      value: unix:/run/taskgate/taskgate.sock
    {{- with .Values.worker.env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  securityContext:
    # Another user than the gateway's: it cannot signal it or read its files and memory.
    runAsUser: {{ .Values.worker.uid }}
    runAsGroup: {{ .Values.worker.gid }}
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities:
      drop: ["ALL"]
  {{- with .Values.worker.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  volumeMounts:
    # Enough to connect; not to put another socket in its place.
    - name: socket
      mountPath: /run/taskgate
      readOnly: true
    # All that it can write to; "taskgate run" makes a file here for outputs.
    - name: tmp
      mountPath: /tmp
{{- end }}
