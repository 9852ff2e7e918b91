import { ActionGroup, Alert, Button, Card, CardBody, CardTitle, Form, FormGroup, FormHelperText, HelperText, HelperTextItem, TextInput } from "../patternfly";
import { useState, type FormEvent } from "react";
import * as hub from "../hub";
import { Wordmark } from "../parts/wordmark";

export function LoginPage({ reason, onSignedIn }: { reason: string; onSignedIn: (session: hub.Session) => void }) {
  const [code, setCode] = useState("");
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);

  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!code.trim()) {
      setProblem("Type the code first.");
      return;
    }
    setBusy(true);
    hub.login(code.trim()).then(onSignedIn, (error: unknown) => {
      setBusy(false);
      setCode("");
      setProblem(error instanceof hub.Refused ? error.message : "The hub cannot be reached.");
    });
  };

  return (
    <main className="sk-login">
      <Card className="sk-login-card">
        <CardTitle component="h1">
          <Wordmark big />
        </CardTitle>
        <CardBody>
          {(problem || reason) && <Alert isInline variant={problem ? "danger" : "info"} title={problem || reason} className="sk-login-alert" />}
          <Form onSubmit={submit}>
            <FormGroup label="One-use code" fieldId="code">
              <TextInput
                id="code"
                name="code"
                value={code}
                onChange={(_, value) => setCode(value)}
                autoComplete="one-time-code"
                autoCapitalize="none"
                spellCheck={false}
                placeholder="xxxx-xxxx-xxxx"
                autoFocus
                className="sk-code"
              />
              <FormHelperText>
                <HelperText>
                  <HelperTextItem>
                    Type <code>skerry hub login</code> on the hub to get one. It works once, for five minutes.
                  </HelperTextItem>
                </HelperText>
              </FormHelperText>
            </FormGroup>
            <ActionGroup>
              <Button type="submit" variant="primary" isBlock isLoading={busy} isDisabled={busy}>
                Sign in
              </Button>
            </ActionGroup>
          </Form>
        </CardBody>
      </Card>
    </main>
  );
}
