//! The admin token: where it comes from, and that it is shown nowhere.

use super::{folder, problems, sources};

#[test]
fn the_admin_token_comes_from_the_environment_the_file_or_a_file_of_its_own() {
    const SECRET: &str = "5ecret-5ecret-5ecret";
    let token = |text: &str, environment: &[(&str, &str)]| {
        let folder = folder(text);
        std::fs::write(folder.path().join("token"), format!("{SECRET}-in-file\n")).unwrap();
        sources(folder.path(), environment).load().unwrap().admin_token
    };
    let in_file = format!("[admin]\ntoken = \"{SECRET}\"\n");
    assert!(token("", &[]).is_none());
    assert!(token(&in_file, &[]).unwrap().is(SECRET.as_bytes()));
    assert!(token("[admin]\ntoken_file = \"token\"\n", &[]).unwrap().is(format!("{SECRET}-in-file").as_bytes()));
    let variable = [("ROOMD_ADMIN_TOKEN", "the-environment-wins")];
    assert!(token(&in_file, &variable).unwrap().is(b"the-environment-wins"));
}

#[test]
fn no_problem_shows_a_token() {
    const SECRET: &str = "5ecret";
    let long = format!("{SECRET}-{SECRET}-{SECRET}");
    for (text, words) in [
        (format!("[admin]\ntoken = \"{SECRET}\"\n"), "`token` cannot be what it is"),
        (format!("[admin]\ntoken = [\"{SECRET}\"]\n"), "`token` cannot be what it is"),
        (format!("[admin]\ntokn = \"{long}\"\n"), "did you mean `token`?"),
        (format!("[admin]\nTOKEN = \"{long}\"\n"), "did you mean `token`?"),
        (format!("[admin]\ntoken = \"{long}\n"), "no valid TOML"),
        (format!("[admin]\ntoken = {long}\n"), "no valid TOML"),
        (format!("[admin]\ntoken = \"{long}\"\ntoken_file = \"x\"\n"), "both `token` and `token_file`"),
        ("[admin]\ntoken_file = \"nowhere\"\n".to_owned(), "nowhere cannot be read"),
        ("[admin]\ntoken_file = \"cluster.toml\"\n".to_owned(), "cluster.toml holds no token"),
    ] {
        let shown = problems(&text);
        assert!(shown.contains(words) && !shown.contains(SECRET), "{words}: {shown}");
    }
    let folder = folder("");
    let wrong = sources(folder.path(), &[("ROOMD_ADMIN_TOKEN", SECRET)]).load().unwrap_err().to_string();
    assert!(wrong.contains("the environment's ROOMD_ADMIN_TOKEN cannot be") && !wrong.contains(SECRET), "{wrong}");
}
