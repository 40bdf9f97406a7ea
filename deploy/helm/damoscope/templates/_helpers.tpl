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
