{{/*
Names are fixed. There is one operator in a cluster, since it serves every Stack, and it prints some of these names in its
messages: the command that grants a namespace names the ClusterRole `atmos-secrets-operator-namespace`.
*/}}

{{- define "operator.name" -}}atmos-secrets-operator{{- end }}

{{/* The role that a RoleBinding grants in one namespace. */}}
{{- define "operator.namespaceRole" -}}atmos-secrets-operator-namespace{{- end }}

{{/* The Role for tokens of ServiceAccounts. */}}
{{- define "operator.tokenRole" -}}atmos-secrets-operator-tokens{{- end }}

{{/* The Secret with the key of the digests on targets. */}}
{{- define "operator.digestKey" -}}atmos-secrets-digest-key{{- end }}

{{- define "operator.selector" -}}
app.kubernetes.io/name: {{ include "operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "operator.labels" -}}
{{ include "operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "operator.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}
