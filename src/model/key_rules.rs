//! What each service asks of a key, and what Kubernetes asks of names: the limits that a computed or explicit key must keep.

use crate::model::backend_key::StoreKind;

/// What the service itself asks of a key. The vendors' limits as documented: SSM "Parameter name constraints" and
/// PutParameter (15 levels, 1011 characters), Secrets Manager CreateSecret (512), Key Vault "Object identifiers"
/// (1 to 127), Secret Manager `projects.secrets.create` (1 to 255).
pub(crate) fn service_rule(kind: StoreKind, key: &str) -> Result<(), String> {
    match kind {
        StoreKind::AwsSecretsManager => {
            characters(key, "/_+=.@-")?;
            length(key, 512)
        }
        StoreKind::AwsSsm => {
            characters(key, "/_.-")?;
            length(key, 1011)?;
            if key.contains('/') && !key.starts_with('/') {
                return Err("a name with `/` must start with `/`".to_owned());
            }
            let name = key.strip_prefix('/').unwrap_or(key);
            if name.split('/').count() > 15 {
                return Err("it may have at most 15 levels".to_owned());
            }
            let start = name.get(..3).unwrap_or("").to_ascii_lowercase();
            if start == "aws" || start == "ssm" {
                return Err("it may not start with `aws` or `ssm`".to_owned());
            }
            Ok(())
        }
        StoreKind::Vault => {
            if key.chars().any(char::is_control) {
                return Err("it may not hold control characters".to_owned());
            }
            // URLs are normalised on the way: such segments would lead out of the mount.
            if key.split('/').any(|segment| segment == "." || segment == "..") {
                return Err("it may not have `.` or `..` as a segment".to_owned());
            }
            if key.trim_matches('/').is_empty() {
                return Err("it may not be empty".to_owned());
            }
            length(key, 2048)
        }
        StoreKind::AzureKeyVault => {
            characters(key, "-")?;
            length(key, 127)
        }
        StoreKind::GcpSecretManager => {
            characters(key, "_-")?;
            length(key, 255)
        }
        StoreKind::Sops => {
            let (file, name) = object_and_name(key)?;
            data_key(file).map_err(|rule| format!("the file name `{file}` is no key of a ConfigMap: {rule}"))?;
            match name {
                "sops" => Err("`sops` is where a SOPS file keeps its metadata".to_owned()),
                _ => Ok(()),
            }
        }
        StoreKind::Kubernetes => {
            let (object, name) = object_and_name(key)?;
            secret_name(object).map_err(|rule| format!("`{object}` is no name of a Secret: {rule}"))?;
            data_key(name).map_err(|rule| format!("`{name}` is no key of a Secret: {rule}"))
        }
    }
}

/// What a text asks for that names a secret of Secrets Manager by its ARN, whole or without the `-` and six characters at
/// its end; `None` if it is no ARN. Whether it is the store's region is for the driver to say.
pub(crate) fn arn_rule(key: &str) -> Option<Result<(), String>> {
    let rest = key.strip_prefix("arn:")?;
    let parts: Vec<&str> = rest.splitn(6, ':').collect();
    let &[_partition, "secretsmanager", region, account, "secret", name] = parts.as_slice() else {
        return Some(Err("an ARN has the form `arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME`".to_owned()));
    };
    if region.is_empty() || account.is_empty() || !account.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Err("the ARN has no region, or no number of an account".to_owned()));
    }
    Some(service_rule(StoreKind::AwsSecretsManager, name))
}

/// Whether segments stay below the prefix that they are joined to.
pub(crate) fn segments_inside<'a>(parts: impl Iterator<Item = &'a str>) -> Result<(), String> {
    for segment in parts.flat_map(|part| part.split('/')) {
        if segment.is_empty() || segment == "." || segment == ".." || segment.contains('%') {
            return Err("empty segments, `.`, `..` and `%` are refused below a prefix with {namespace}".to_owned());
        }
    }
    Ok(())
}

fn characters(key: &str, others: &str) -> Result<(), String> {
    match key.chars().find(|character| !character.is_ascii_alphanumeric() && !others.contains(*character)) {
        Some(character) => Err(format!("`{}` is not allowed", character.escape_default())),
        None => Ok(()),
    }
}

fn length(key: &str, most: usize) -> Result<(), String> {
    match key.len() {
        0 => Err("it may not be empty".to_owned()),
        length if length > most => Err(format!("it has {length} characters, at most {most} are allowed")),
        _ => Ok(()),
    }
}

fn object_and_name(key: &str) -> Result<(&str, &str), String> {
    match key.split_once('#') {
        Some((object, name)) if !object.is_empty() && !name.is_empty() => Ok((object, name)),
        Some(_) | None => Err("it must have the form `<object>#<key>`".to_owned()),
    }
}

/// Whether a text can be a key in the data of a Secret or ConfigMap (`IsConfigMapKey` of apimachinery).
pub(crate) fn data_key(key: &str) -> Result<(), &'static str> {
    if key.is_empty() || key.len() > 253 {
        return Err("1 to 253 characters are allowed");
    }
    if !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
        return Err("only letters, digits, `-`, `_` and `.` are allowed");
    }
    if key == "." || key.starts_with("..") {
        return Err("it may not be `.` or start with `..`");
    }
    Ok(())
}

/// Whether a text can be the name of a Secret: a DNS subdomain (RFC 1123, `IsDNS1123Subdomain` of apimachinery).
pub(crate) fn secret_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > 253 {
        return Err("1 to 253 characters are allowed");
    }
    let legal = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    if name.split('.').all(legal) {
        return Ok(());
    }
    Err("lower-case letters, digits, `-` and `.` are allowed, with a letter or digit at the ends and around each `.`")
}
