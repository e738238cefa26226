{{/* Labels and annotations of a pod: (dict "root" $ "component" "runtime" "values" .Values.runtime "annotations" dict). */}}
{{- define "arklex.podMetadata" -}}
labels:
  {{- include "arklex.selector" . | nindent 2 }}
  app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
  app.kubernetes.io/part-of: arklex
  {{- with merge dict (.values.podLabels | default dict) .root.Values.commonLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge dict (.values.podAnnotations | default dict) (.annotations | default dict) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What every pod spec begins with: restricted, and placed as its values say. Same arguments. */}}
{{- define "arklex.podSpec" -}}
{{- $security := .root.Values.podSecurity -}}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  {{- range $key := list "runAsUser" "runAsGroup" "fsGroup" }}
  {{- if ne (index $security $key) nil }}
  {{ $key }}: {{ index $security $key | int64 }}
  {{- end }}
  {{- end }}
  {{- if ne $security.fsGroup nil }}
  fsGroupChangePolicy: OnRootMismatch
  {{- end }}
  seccompProfile: {type: RuntimeDefault}
enableServiceLinks: false
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Spread over nodes and zones; same arguments. */}}
{{- define "arklex.spread" -}}
topologySpreadConstraints:
{{- if .values.topologySpreadConstraints }}
  {{- toYaml .values.topologySpreadConstraints | nindent 2 }}
{{- else }}
{{- $selector := include "arklex.selector" . }}
{{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - topologyKey: {{ $key }}
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- $selector | nindent 8 }}
{{- end }}
{{- end }}
{{- end }}

{{- define "arklex.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
  privileged: false
  readOnlyRootFilesystem: true
  runAsNonRoot: true
{{- end }}

{{- define "arklex.podEnv" -}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: ARKLEX_NAMESPACES
  value: {{ join "," .Values.watchNamespaces | quote }}
{{- end }}

{{- define "arklex.redisEnv" -}}
- name: ARKLEX_REDIS_URL
  value: {{ include "arklex.redisUrl" . | quote }}
- name: ARKLEX_REDIS_PASSWORD_FILE
  value: /var/run/arklex/redis/password
{{- end }}

{{- define "arklex.redisMount" -}}
- {name: redis, mountPath: /var/run/arklex/redis, readOnly: true}
{{- end }}

{{- define "arklex.redisVolume" -}}
- name: redis
  secret:
    secretName: {{ include "arklex.redisSecret" . }}
    defaultMode: 0440
    items: [{key: {{ .Values.redis.password.key | quote }}, path: password}]
{{- end }}

{{- define "arklex.tmpVolume" -}}
- name: tmp
  emptyDir: {sizeLimit: 64Mi}
{{- end }}

{{/* Probes of a process of ours on its port: (dict "port" "health" "startup" 30), startup in seconds. */}}
{{- define "arklex.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: {{ .port }}}
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: {{ div .startup 2 }}
livenessProbe:
  httpGet: {path: /healthz, port: {{ .port }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: {{ .port }}}
  periodSeconds: 5
  timeoutSeconds: 5
{{- end }}

{{/*
A pod that leaves goes on serving until every node has heard of it: without this a rollout refuses connections.
Its grace period must hold these seconds too.
*/}}
{{- define "arklex.linger" -}}
lifecycle:
  preStop:
    sleep: {seconds: 5}
{{- end }}

{{/* A PodDisruptionBudget: (dict "root" $ "component" "runtime"). */}}
{{- define "arklex.budget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "arklex.metadata" . | nindent 2 }}
spec:
  maxUnavailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "arklex.selector" . | nindent 6 }}
{{- end }}

{{/* A claim that outlives the release: (dict "root" $ "component" "redis" "suffix" "-redis-data" "persistence" …). */}}
{{- define "arklex.claim" -}}
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  {{- include "arklex.metadata" (merge (dict "annotations" (dict "helm.sh/resource-policy" "keep")) .) | nindent 2 }}
spec:
  accessModes: [ReadWriteOnce]
  {{- if ne .persistence.storageClassName nil }}
  storageClassName: {{ .persistence.storageClassName | quote }}
  {{- end }}
  resources:
    requests:
      storage: {{ .persistence.size }}
{{- end }}
