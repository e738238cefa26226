{{/* Name of all objects: the release's, with the chart's where it is not in it. */}}
{{- define "arklex.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" (.Release.Name | trunc 33 | trimSuffix "-") .Chart.Name -}}
{{- end -}}
{{- end }}

{{/* Labels that select a component's pods, for ever the same: (dict "root" $ "component" "runtime"). */}}
{{- define "arklex.selector" -}}
app.kubernetes.io/name: arklex
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Metadata of an object: (dict "root" $ "component" "runtime" "suffix" "-runtime" "annotations" dict "labels" dict "namespace" ""). */}}
{{- define "arklex.metadata" -}}
{{- $root := .root -}}
name: {{ include "arklex.fullname" $root }}{{ .suffix | default (printf "-%s" .component) }}
{{- if not .clusterScoped }}
namespace: {{ .namespace | default $root.Release.Namespace }}
{{- end }}
labels:
  {{- include "arklex.selector" . | nindent 2 }}
  app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ $root.Release.Service }}
  app.kubernetes.io/part-of: arklex
  helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
  {{- with merge dict (.labels | default dict) $root.Values.commonLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge dict (.annotations | default dict) $root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Reference of an image: (dict "root" $ "image" .Values.images.runtime). */}}
{{- define "arklex.image" -}}
{{- with .root.Values.image.registry }}{{ . }}/{{ end -}}
{{- .image.repository -}}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ .image.tag | default .root.Chart.AppVersion }}{{ end -}}
{{- end }}

{{/* Whether Roles in watchNamespaces take the place of ClusterRoles: "true" or nothing. */}}
{{- define "arklex.namespaced" -}}
{{- if .Values.watchNamespaces }}true{{ end -}}
{{- end }}

{{- define "arklex.metricsEnabled" -}}
{{- if and .Values.cluster.enabled .Values.metrics.enabled }}true{{ end -}}
{{- end }}

{{- define "arklex.redisSecret" -}}
{{- .Values.redis.password.existingSecret | default (printf "%s-redis" (include "arklex.fullname" .)) -}}
{{- end }}

{{- define "arklex.doorSecret" -}}
{{- .Values.door.token.existingSecret | default (printf "%s-door" (include "arklex.fullname" .)) -}}
{{- end }}

{{- define "arklex.redisUrl" -}}
{{- if eq .Values.redis.mode "external" -}}
{{- .Values.redis.external.url -}}
{{- else -}}
redis://{{ include "arklex.fullname" . }}-redis.{{ .Release.Namespace }}.svc:6379/0
{{- end -}}
{{- end }}

{{/* Secrets a hook makes where they are missing, as a list in JSON of name/key. */}}
{{- define "arklex.generatedSecrets" -}}
{{- $made := list -}}
{{- if not .Values.redis.password.existingSecret }}{{ $made = append $made (printf "%s/%s" (include "arklex.redisSecret" .) .Values.redis.password.key) }}{{ end -}}
{{- if not .Values.door.token.existingSecret }}{{ $made = append $made (printf "%s/%s" (include "arklex.doorSecret" .) .Values.door.token.key) }}{{ end -}}
{{- toJson $made -}}
{{- end }}

{{/* Secrets of the release's namespace that no tenant's object may refer to, as a list in JSON. */}}
{{- define "arklex.ownSecrets" -}}
{{- $own := list (include "arklex.redisSecret" .) (include "arklex.doorSecret" .) (printf "%s-metrics-tls" (include "arklex.fullname" .)) -}}
{{- with .Values.journal.postgresql.existingSecret }}{{ $own = append $own . }}{{ end -}}
{{- toJson ($own | uniq | sortAlpha) -}}
{{- end }}
