{{/* Names of at most 63 characters, with room for what is appended. */}}
{{- define "damoscope.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $full .Values.fullnameOverride | trunc 48 | trimSuffix "-" -}}
{{- end }}

{{/* What never changes of an object's labels, for selectors: they are immutable. (dict "root" $ "component" "worker") */}}
{{- define "damoscope.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .root.Release.Name | trunc 63 | trimSuffix "-" | quote }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{/* All labels of an object. */}}
{{- define "damoscope.labels" -}}
{{ include "damoscope.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: damoscope
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* (dict "root" $ "repository" "damoscope-worker") */}}
{{- define "damoscope.image" -}}
{{- $image := .root.Values.image -}}
{{- with $image.registry }}{{ trimSuffix "/" . }}/{{ end }}{{ .repository }}:{{ default .root.Chart.AppVersion $image.tag }}
{{- end }}

{{- define "damoscope.serviceAccount" -}}
{{- $account := .Values.serviceAccount -}}
{{- if $account.create }}{{ default (include "damoscope.fullname" .) $account.name }}{{ else }}{{ default "default" $account.name }}{{ end }}
{{- end }}

{{/*
Values over others, as Helm lays one file of values over another: maps are joined, and what is empty,
0 or false counts as well, which sprig's `merge` takes for not given. (dict "base" ... "over" ...)
*/}}
{{- define "damoscope.overlay" -}}
{{- $all := deepCopy .base -}}
{{- range $key, $value := .over -}}
{{- $below := get $all $key -}}
{{- if and (kindIs "map" $value) (kindIs "map" $below) -}}
{{- $value = include "damoscope.overlay" (dict "base" $below "over" $value) | fromYaml -}}
{{- end -}}
{{- $_ := set $all $key $value -}}
{{- end -}}
{{- toYaml $all -}}
{{- end }}

{{/*
The pools of workers, by their component: `values`, `settings`, `gpu`, and the `model` that images ask
them for, or none. A model's workers are like those on processors or GPUs but for what the model says,
and take none of the settings that choose another.
*/}}
{{- define "damoscope.pools" -}}
{{- $pools := dict -}}
{{- range $component, $values := dict "worker" .Values.worker "worker-gpu" .Values.workerGpu -}}
{{- if $values.enabled -}}
{{- $settings := include "damoscope.overlay" (dict "base" $.Values.settings "over" $values.settings) | fromYaml -}}
{{- $_ := set $pools $component (dict "values" $values "settings" $settings "gpu" (eq $component "worker-gpu") "model" "") -}}
{{- end -}}
{{- end -}}
{{- range .Values.models -}}
{{- $gpu := default false .gpu -}}
{{- $values := include "damoscope.overlay" (dict "base" (omit (ternary $.Values.workerGpu $.Values.worker $gpu) "settings") "over" .) | fromYaml -}}
{{- $every := omit $.Values.settings "DAMOSCOPE_MODEL" "DAMOSCOPE_LABELS" "DAMOSCOPE_SHADOW" "DAMOSCOPE_SHADOW_SHARE" -}}
{{- $settings := include "damoscope.overlay" (dict "base" $every "over" (default dict .settings)) | fromYaml -}}
{{- $_ := set $settings "DAMOSCOPE_SERVES" .name -}}
{{- $component := include "damoscope.modelComponent" (dict "root" $ "model" .name) -}}
{{- if hasKey $pools $component -}}
{{- fail (printf "models: %s is there twice" .name) -}}
{{- end -}}
{{- $_ := set $pools $component (dict "values" $values "settings" $settings "gpu" $gpu "model" .name) -}}
{{- end -}}
{{- toYaml $pools -}}
{{- end }}

{{/* The component of a model's workers: its name where Kubernetes takes it, else one with a part of its hash. (dict "root" $ "model" ...) */}}
{{- define "damoscope.modelComponent" -}}
{{- $room := sub 62 (len (include "damoscope.fullname" .root)) | int -}}
{{- $written := printf "worker-%s" (regexReplaceAll "[^a-z0-9-]" .model "-") -}}
{{- $hashed := or (ne $written (printf "worker-%s" .model)) (gt (len $written) $room) (eq .model "gpu") -}}
{{- if $hashed -}}
{{- printf "%s-%s" ($written | trunc (sub $room 9 | int) | trimSuffix "-") (sha256sum .model | trunc 8) -}}
{{- else -}}
{{- $written -}}
{{- end -}}
{{- end }}

{{/* "true" where KEDA asks Redis for the lengths of queues. */}}
{{- define "damoscope.kedaRedis" -}}
{{- range include "damoscope.pools" . | fromYaml -}}
{{- with .values.autoscaling -}}
{{- if and .enabled (eq .trigger "redis") }}true{{ end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* "true" where a frontend keeps traces and metrics itself. */}}
{{- define "damoscope.embedded" -}}
{{- if not .Values.monitoring.prometheusUrl }}true{{ end }}
{{- end }}

{{/* The host of publicUrl. */}}
{{- define "damoscope.publicHost" -}}
{{- with .Values.publicUrl }}{{ (splitList ":" (urlParse .).host) | first }}{{ end }}
{{- end }}

{{/* The path of publicUrl, or a slash. */}}
{{- define "damoscope.publicPath" -}}
{{- default "/" (urlParse .Values.publicUrl).path }}
{{- end }}

{{/* A number as a person would write it: YAML's are floats here, and large ones would be printed as 2e+07. */}}
{{- define "damoscope.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) }}{{ int64 . }}{{ else }}{{ . }}{{ end }}
{{- end }}

{{/* Seconds that a number of a setting has, rounded up: that of `settings`, else the default. (dict "settings" ... "name" ... "root" $) */}}
{{- define "damoscope.seconds" -}}
{{- $known := .root.Files.Get "files/settings.yaml" | fromYaml -}}
{{- $given := get .settings .name -}}
{{- ceil (float64 (ternary (get $known.defaults .name) $given (or (kindIs "invalid" $given) (eq (toString $given) "")))) | int64 }}
{{- end }}

{{/* Pods that may not do anything that they need not. */}}
{{- define "damoscope.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "damoscope.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{/* Where the pods of a Deployment may run, and from where they are pulled. (dict "root" $ "values" ... "component" ...) */}}
{{- define "damoscope.scheduling" -}}
serviceAccountName: {{ include "damoscope.serviceAccount" .root }}
automountServiceAccountToken: false
# A Service of the name damoscope would otherwise set DAMOSCOPE_PORT in every container.
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "damoscope.selector" $ | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}
