{{/* A Job's pod that runs one command of arklex-hooks:
     (dict "root" $ "account" "hooks-secrets" "arguments" (list "secrets" …) "redis" false). */}}
{{- define "arklex.hook.template" -}}
{{- $part := dict "root" .root "component" "hooks" "values" .root.Values.hooks -}}
metadata:
  {{- include "arklex.podMetadata" $part | nindent 2 }}
spec:
  restartPolicy: Never
  serviceAccountName: {{ include "arklex.fullname" .root }}-{{ .account }}
  automountServiceAccountToken: true
  {{- include "arklex.podSpec" $part | nindent 2 }}
  containers:
    - name: hooks
      image: {{ include "arklex.image" (dict "root" .root "image" .root.Values.images.operator) }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      command: [arklex-hooks]
      args:
        {{- toYaml .arguments | nindent 8 }}
      env:
        {{- include "arklex.podEnv" .root | nindent 8 }}
        {{- if .redis }}
        {{- include "arklex.redisEnv" .root | nindent 8 }}
        {{- end }}
      resources:
        {{- toYaml .root.Values.hooks.resources | nindent 8 }}
      {{- include "arklex.containerSecurity" . | nindent 6 }}
      volumeMounts:
        {{- if .redis }}
        {{- include "arklex.redisMount" .root | nindent 8 }}
        {{- end }}
        - {name: tmp, mountPath: /tmp}
  volumes:
    {{- if .redis }}
    {{- include "arklex.redisVolume" .root | nindent 4 }}
    {{- end }}
    {{- include "arklex.tmpVolume" . | nindent 4 }}
{{- end }}

{{/* Annotations of a hook: (dict "hook" "pre-delete" "weight" "0"). */}}
{{- define "arklex.hook.annotations" -}}
helm.sh/hook: {{ .hook }}
helm.sh/hook-weight: {{ .weight | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}
