//! The first process: arguments, environment, working directory.

use super::error::OciError;
use super::input::Input;
use super::paths;

/// PATH where neither the image nor the request has one.
const DEFAULT_PATH: &[u8] = b"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The arguments: the request's command replaces the image's entrypoint and its command, the request's arguments
/// replace the image's command.
pub(super) fn arguments(input: &Input<'_>) -> Result<Vec<String>, OciError> {
    let container = input.container;
    let image = input.image;
    let arguments: Vec<String> = if !container.command.is_empty() {
        [container.command.as_slice(), &container.arguments].concat()
    } else if !container.arguments.is_empty() {
        [image.entrypoint.as_slice(), &container.arguments].concat()
    } else {
        [image.entrypoint.as_slice(), &image.command].concat()
    };
    if arguments.is_empty() {
        return Err(OciError::NoCommand {
            image: container.image.image.clone(),
        });
    }
    if let Some(argument) = arguments.iter().find(|argument| argument.contains('\0')) {
        return Err(OciError::value("args", argument, "has a NUL byte"));
    }
    Ok(arguments)
}

/// The environment, `NAME=value`, bytes as they came: defaults, then the image's, the request's, those of CDI devices. A later one takes
/// the place of an earlier one. HOME is not here: the shim takes it from the container's /etc/passwd.
pub(super) fn environment(input: &Input<'_>) -> Result<Vec<Vec<u8>>, OciError> {
    let mut environment = vec![DEFAULT_PATH.to_vec()];
    if input.container.tty {
        environment.push(b"TERM=xterm".to_vec());
    }
    environment.push([b"HOSTNAME=", input.hostname.as_bytes()].concat());
    for variable in &input.image.environment {
        // An image's entry without '=' names nothing that could be set.
        if variable.contains('=') && !variable.starts_with('=') {
            put(&mut environment, variable.clone().into_bytes());
        }
    }
    for variable in &input.container.environment {
        if variable.name.is_empty() || variable.name.contains(['=', '\0']) {
            return Err(OciError::value(
                "envs",
                &variable.name,
                "not a name of an environment variable",
            ));
        }
        if variable.value.contains(&0) {
            return Err(OciError::value(
                "envs",
                &variable.name,
                "the value has a NUL byte",
            ));
        }
        put(
            &mut environment,
            [variable.name.as_bytes(), b"=", &variable.value].concat(),
        );
    }
    // What a device says of itself is true: a client that names another would only be wrong.
    for variable in &input.edits.environment {
        if !variable.contains('=') || variable.starts_with('=') || variable.contains('\0') {
            return Err(OciError::value(
                "CDI_devices",
                variable,
                "not an environment variable: NAME=value",
            ));
        }
        put(&mut environment, variable.clone().into_bytes());
    }
    Ok(environment)
}

fn put(environment: &mut Vec<Vec<u8>>, variable: Vec<u8>) {
    let name = name_of(&variable);
    match environment.iter_mut().find(|old| name_of(old) == name) {
        Some(old) => *old = variable,
        None => environment.push(variable),
    }
}

fn name_of(variable: &[u8]) -> &[u8] {
    variable
        .split(|byte| *byte == b'=')
        .next()
        .unwrap_or(variable)
}

/// The working directory: the request's, else the image's, else `/`.
pub(super) fn working_directory(input: &Input<'_>) -> Result<String, OciError> {
    let asked = &input.container.working_directory;
    if asked.contains('\0') || !(asked.is_empty() || asked.starts_with('/')) {
        return Err(OciError::value(
            "working_dir",
            asked,
            "not an absolute path",
        ));
    }
    if asked.is_empty() {
        Ok(paths::clean(&input.image.working_directory))
    } else {
        Ok(paths::clean(asked))
    }
}
